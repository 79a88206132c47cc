/**
 * When the trainer's state is saved and which saved state it starts from. Saving copies the state
 * between two batches and writes the copy while training goes on; one at a time.
 */
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { withoutEngine } from '../../model/plan.ts'
import type { EventLogReader, Position } from '../../stream/event-log.ts'
import type { Json } from '../../stream/event.ts'
import type { Learner } from '../learner.ts'
import type { CheckpointOptions, TrainerModel } from '../trainer-config.ts'
import type { CheckpointStatus, TrainerReport } from '../trainer-status.ts'
import type { CheckpointCopies } from './checkpoint-copies.ts'
import { CheckpointMirror, type Refuse } from './checkpoint-mirror.ts'
import { type Checkpoint, type CheckpointHeader, CheckpointStore } from './checkpoint.ts'
import { differingFields } from './config-difference.ts'
import type { TableVersions } from './saved-tables.ts'

/** Fields of another configuration that an error names. */
const maxNamed = 10

export interface CheckpointsOptions extends CheckpointOptions {
  readonly model: TrainerModel
  readonly clock: Clock
  /** For a trainer on another machine; absent: the folder is all there is. */
  readonly copies?: CheckpointCopies
  readonly report: (report: TrainerReport) => void
}

/** Where the state that is saved stands. */
export interface Place {
  readonly sequence: number
  readonly position: Position
}

interface FullCheckpoint extends Place {
  readonly versions: TableVersions
}

export class Checkpoints {
  readonly #options: CheckpointsOptions
  readonly #store: CheckpointStore
  readonly #mirror: CheckpointMirror | undefined
  readonly #config: Json
  #startedAt: number
  #writing: Promise<CheckpointStatus> | undefined
  #last: CheckpointStatus | undefined
  #retainFrom: Position | undefined
  /** The newest full one since the start, and how many deltas to it there are. */
  #full: FullCheckpoint | undefined
  #deltas = 0
  /** As of the newest write. */
  #oldest: CheckpointHeader | undefined

  constructor(options: CheckpointsOptions) {
    this.#options = options
    this.#store = new CheckpointStore(options)
    const { copies } = options
    this.#mirror = copies && new CheckpointMirror({ ...options, copies })
    this.#config = comparable(options.model)
    this.#startedAt = options.clock.monotonic()
  }

  /** The newest. */
  get last(): CheckpointStatus | undefined {
    return this.#last
  }

  /** The position of the oldest checkpoint that is kept. */
  get retainFrom(): Position | undefined {
    return this.#retainFrom
  }

  /**
   * The newest whole checkpoint that the log still reaches: what is trained on from. Undefined:
   * there is none. Throws `CHECKPOINT_INCOMPATIBLE`.
   */
  async find(log: EventLogReader): Promise<Checkpoint | undefined> {
    await this.#store.clean()
    const isEmpty = this.#mirror === undefined && this.#store.sequences().length === 0
    const end = isEmpty ? {} : await log.end()
    const refuse: Refuse = ({ position }) => {
      const isReached = Object.entries(position).every(
        ([partition, offset]) => log.compare(offset, end[Number(partition)] ?? '') <= 0,
      )
      return isReached ? undefined : 'it is ahead of the log'
    }
    await this.#mirror?.fetch(refuse)
    const found = this.#store.newest((damaged) => {
      const message = `checkpoint ${damaged.directory} is passed over: ${damaged.reason}`
      this.#report('error', 'checkpointDamaged', message, { ...damaged })
    }, refuse)
    if (found === undefined) {
      this.#report('info', 'startedFresh', 'no checkpoint: starts at the beginning of the log', {})
      return undefined
    }
    this.#requireCompatible(found)
    return found
  }

  /** The state is that of this one now. */
  async restored({ sequence, position, createdAt, bytes }: Checkpoint): Promise<void> {
    this.#last = { sequence, bytes, milliseconds: 0, at: createdAt }
    const oldest = this.#mirror ? await this.#mirror.oldest() : this.#store.oldest()
    this.#retainFrom = oldest?.position
    const message = `restored checkpoint ${sequence}`
    this.#report('info', 'restored', message, { sequence, position, createdAt, bytes })
  }

  /** The newest whole one of this model that is as asked for. */
  newest(isWanted: (found: Checkpoint) => boolean): Checkpoint | undefined {
    const isOurs = ({ config }: CheckpointHeader): boolean =>
      differingFields(config, this.#config).length === 0
    const refuse = (found: Checkpoint): string | undefined =>
      isOurs(found) && isWanted(found) ? undefined : 'it is not wanted'
    return this.#store.newest(() => {}, refuse)
  }

  /** The one of that sequence; undefined if it is gone or damaged. */
  at(sequence: number): Checkpoint | undefined {
    return this.#store.at(sequence)
  }

  /** The next one is full: the state is not one that followed from the last. */
  beginAnew(): void {
    this.#full = undefined
  }

  /** Whether none is being written. */
  get isIdle(): boolean {
    return this.#writing === undefined
  }

  /** Whether it is time for the next, and none is being written. */
  isDue(): boolean {
    const { intervalMs, clock } = this.#options
    if (intervalMs === 0 || !this.isIdle) return false
    return clock.monotonic() - this.#startedAt >= intervalMs
  }

  /**
   * Copies the state now, and resolves when it is durable and far rows are in their stores.
   * `written` hears of the oldest checkpoint kept. The state must stand still until the copy is
   * made: while another one is being written, that is waited for. Throws `CHECKPOINT_FAILED`, which
   * is reported too, and `ROW_STORE_*`.
   */
  async write(
    learner: Learner,
    place: Place,
    written: (oldest: CheckpointHeader) => void,
  ): Promise<CheckpointStatus> {
    const { clock } = this.#options
    if (!this.isIdle) await this.settled()
    this.#startedAt = clock.monotonic()
    // Nothing has happened since.
    if (this.#last?.sequence === place.sequence) return this.#last
    const base = this.#base
    const saved = learner.serialize(base?.versions)
    const isDelta = saved.isDelta && base !== undefined
    const header = {
      ...place,
      createdAt: clock.now(),
      config: this.#config,
      ...(isDelta && { base: base.sequence }),
    }
    const writing = this.#write(learner, header, saved.parts).then(async (status) => {
      this.#last = status
      if (isDelta) this.#deltas += 1
      else [this.#full, this.#deltas] = [{ ...place, versions: saved.versions }, 0]
      const oldest = this.#oldest
      this.#retainFrom = oldest?.position ?? this.#retainFrom
      if (oldest !== undefined) this.#tell(written, oldest)
      await learner.flush(header.sequence)
      return status
    })
    this.#writing = writing
    try {
      return await writing
    } finally {
      if (this.#writing === writing) this.#writing = undefined
    }
  }

  /** What the next one may be a delta to. */
  get #base(): FullCheckpoint | undefined {
    return this.#deltas + 1 < (this.#options.fullEvery ?? 1) ? this.#full : undefined
  }

  /** Resolves when nothing is being written, whatever came of it. */
  async settled(): Promise<void> {
    await this.#writing?.catch(() => undefined)
  }

  async #write(
    learner: Learner,
    header: CheckpointHeader,
    parts: Parameters<CheckpointStore['write']>[1],
  ): Promise<CheckpointStatus> {
    const { clock } = this.#options
    const from = clock.monotonic()
    try {
      const bytes = await this.#store.write(header, parts)
      const { sequence } = header
      this.#oldest = this.#mirror ? await this.#mirror.send(sequence) : this.#store.oldest()
      const milliseconds = Math.round(clock.monotonic() - from)
      const message = `wrote checkpoint ${sequence}`
      this.#report('info', 'checkpointWritten', message, { sequence, bytes, milliseconds })
      return { sequence, bytes, milliseconds, at: clock.now() }
    } catch (error) {
      learner.takeBack()
      const reason = error instanceof Error ? error.message : String(error)
      this.#report('error', 'checkpointFailed', reason, {})
      throw error
    }
  }

  #tell(written: (oldest: CheckpointHeader) => void, oldest: CheckpointHeader): void {
    try {
      written(oldest)
    } catch (error) {
      this.#report('warn', 'journalNotTruncated', String(error), {})
    }
  }

  #requireCompatible({ config, sequence }: CheckpointHeader): void {
    const all = differingFields(config, this.#config)
    if (all.length === 0) return
    const others = all.length > maxNamed ? ` and ${all.length - maxNamed} more` : ''
    const fields = all.slice(0, maxNamed).join(', ') + others
    throw new ServiceError('CHECKPOINT_INCOMPATIBLE', { sequence, fields })
  }

  #report(
    level: TrainerReport['level'],
    code: TrainerReport['code'],
    message: string,
    details: TrainerReport['details'],
  ): void {
    this.#options.report({ level, code, message, details })
  }
}

/**
 * What a checkpoint must have been made with: all of the model but what only decides how it is fed
 * and watched. Through JSON, as the manifest holds it.
 */
export function comparable({ spec, tables, facts }: TrainerModel): Json {
  const plain: Json = JSON.parse(JSON.stringify({ spec: withoutEngine(spec), tables, facts }))
  return plain
}
