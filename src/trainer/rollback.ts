/**
 * The way back from a model that the guard no longer trusts: to the newest checkpoint that was
 * written while batches were accepted and whose weights are numbers. Journaled before it is done,
 * so a restart goes back at the same place to the same checkpoint.
 */
import { ByteReader } from '../base/bytes.ts'
import { ServiceError } from '../base/errors.ts'
import type { Json } from '../stream/event.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import type { Checkpoints } from './checkpoint/checkpoints.ts'
import type { DeltaSource } from './delta-source.ts'
import { Guard } from './guard.ts'
import { guardPart, type Learner } from './learner.ts'
import type { RollBackCommand, RollBackResult, TrainerReport } from './trainer-status.ts'

/** Called before a command takes effect. */
export type CommandJournal = (
  name: string,
  payload: Readonly<Record<string, Json>>,
) => Promise<void>

export interface RollbackParts {
  readonly learner: Learner
  readonly deltas: DeltaSource
  /** Absent: there is nothing to go back to. */
  readonly checkpoints: Checkpoints | undefined
  /** Absent: what is not in the log is not known to a restart. */
  readonly journal: CommandJournal | undefined
  /** Some rows lie elsewhere, and are not what they were at a checkpoint. */
  readonly hasFarRows: boolean
  readonly report: (report: TrainerReport) => void
}

/** Its name in the journal, and what is journaled where there is no way back. */
export const rollbackEntry = 'rollBack'
const nowhere = -1

export class Rollbacks {
  readonly #parts: RollbackParts

  constructor(parts: RollbackParts) {
    this.#parts = parts
  }

  /** Between two batches: goes back if the guard asks for it. Throws what the journal throws. */
  async rollBackIfWanted(): Promise<void> {
    const { learner, checkpoints, journal } = this.#parts
    if (!learner.guard.wantsRollback) return
    await checkpoints?.settled()
    const obstacle = this.#obstacle
    const target = obstacle === undefined ? checkpoints?.newest(isGood) : undefined
    await journal?.(rollbackEntry, { to: target?.sequence ?? nowhere })
    if (target !== undefined) return await this.#goTo(target)
    learner.guard.cannotRollBack()
    this.#tellImpossible(obstacle ?? 'there is no good checkpoint')
  }

  /**
   * Goes back because somebody says so. Throws `REQUEST_INVALID` where there is no such checkpoint,
   * or no way to it, and what the journal throws.
   */
  async execute({ to }: RollBackCommand): Promise<RollBackResult> {
    const { checkpoints, journal } = this.#parts
    await checkpoints?.settled()
    const obstacle = this.#obstacle
    const target = obstacle === undefined ? checkpoints?.at(to) : undefined
    if (target === undefined) {
      const reason = obstacle ?? `there is no whole checkpoint ${to}`
      throw new ServiceError('REQUEST_INVALID', { path: 'to', reason })
    }
    await journal?.(rollbackEntry, { to })
    await this.#goTo(target)
    return { kind: 'rollBack', to }
  }

  /** Does again what was journaled. */
  async repeat({ to }: Readonly<Record<string, Json>>): Promise<void> {
    const { learner, checkpoints } = this.#parts
    const sequence = Number(to)
    const target = sequence === nowhere ? undefined : checkpoints?.at(sequence)
    if (target !== undefined) return await this.#goTo(target)
    learner.guard.cannotRollBack()
    if (sequence !== nowhere) this.#tellImpossible(`checkpoint ${sequence} is gone`)
  }

  get #obstacle(): string | undefined {
    const { checkpoints, journal, hasFarRows } = this.#parts
    if (hasFarRows) return 'some rows are not in memory'
    if (checkpoints === undefined || journal === undefined) return 'there is no journal'
    return undefined
  }

  async #goTo(target: Checkpoint): Promise<void> {
    const { learner, checkpoints, deltas, report } = this.#parts
    const { inRow } = learner.guard
    await learner.rollBack((part) => target.chunks(part))
    checkpoints?.beginAnew()
    deltas.void()
    const message = `rolled back to checkpoint ${target.sequence}`
    const details = { sequence: target.sequence, step: learner.step, inRow }
    report({ level: 'error', code: 'rolledBack', message, details })
  }

  #tellImpossible(reason: string): void {
    const message = `the guard asks for a rollback, but ${reason}`
    const details = { step: this.#parts.learner.step }
    this.#parts.report({ level: 'error', code: 'rollbackImpossible', message, details })
  }
}

/** Written while batches were accepted, and of numbers. */
function isGood(found: Checkpoint): boolean {
  const [band] = found.chunks(guardPart)
  const [weights] = found.chunks('weights')
  if (band === undefined || weights === undefined) return false
  const guard = new Guard()
  guard.load(new ByteReader(band))
  return guard.inRow === 0 && new Float32Array(weights.slice().buffer).every(Number.isFinite)
}
