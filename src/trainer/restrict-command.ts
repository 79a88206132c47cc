/**
 * Restrict on command, between batches: a small table at once; a large one step by step, with
 * batches in between, so that nobody waits for it. Each step is journaled before it is taken, so a
 * replay takes it between the same two batches. A dry run changes nothing and is not journaled.
 */
import { present } from '../base/assert.ts'
import { ServiceError } from '../base/errors.ts'
import type { RestrictRequest } from '../embedding/embedding-table.ts'
import { ownRequest, rowsToRemove, wholeRows } from '../embedding/restrict/restrict.ts'
import type { Json } from '../stream/event.ts'
import type { Learner } from './learner.ts'
import type { RestrictLimits } from './restrict-requests.ts'
import type { RestrictCommand, RestrictedTable, RestrictResult } from './trainer-status.ts'

export interface RestrictParts {
  readonly learner: Learner
  /** Before anything of it happens. */
  readonly journal: (name: string, payload: JournaledRestrict) => Promise<void>
  /** Rows of a table have left. */
  readonly onRemoved: (rows: number) => void
}

/** As the journal has it: flat. */
type JournaledRestrict = Readonly<Record<string, string | number>>

interface StepsEntry extends JournaledRestrict {
  readonly table: string
}

/** Rows that a dry run names of each table. */
const samples = 20

/** Names in the journal: at once; the beginning of one in steps; a step. */
const entries = { whole: 'restrict', start: 'restrictStart', step: 'restrictStep' } as const

export class RestrictCommands {
  readonly #parts: RestrictParts

  constructor(parts: RestrictParts) {
    this.#parts = parts
  }

  /**
   * Yields after each step how far it is, 0..1; what follows must come between two batches again.
   * Throws `REQUEST_INVALID` and `RESTRICT_INVALID` before anything is changed.
   */
  async *execute(command: RestrictCommand): AsyncGenerator<number, RestrictResult> {
    const tables: RestrictedTable[] = []
    const targets = this.#targets(command)
    for (const [table, request] of targets) {
      const steps =
        command.dryRun === true ? this.#preview(table, request) : this.#restrict(table, request)
      tables.push(yield* shareOf(steps, tables.length / targets.length, 1 / targets.length))
    }
    return {
      kind: 'restrict',
      dryRun: command.dryRun === true,
      removed: tables.reduce((sum, { removed }) => sum + removed, 0),
      rows: this.#parts.learner.tableStats().reduce((sum, { rows }) => sum + rows, 0),
      tables,
    }
  }

  /** Does again what was journaled. */
  async repeat(name: string, payload: Plain): Promise<void> {
    const table = typeof payload['table'] === 'string' ? payload['table'] : undefined
    if (name === entries.step) await this.#step(present(table, 'table'))
    else if (name === entries.whole) await this.#whole(table, limitsOf(payload))
    else this.#start(present(table, 'table'), payload)
  }

  /** Rows past their time to live, then those of lowest score. */
  async *#restrict(name: string, request: RestrictRequest): RestrictSteps {
    const { learner, journal } = this.#parts
    const { size, spec } = learner.table(name)
    const { evicted } = learner.table(name).stats()
    const { numReserved, trigger, policy } = request
    const entry = { table: name, numReserved, trigger, policy }
    if (spec.capacityRows <= wholeRows) {
      await journal(entries.whole, entry)
      await this.#whole(name, entry)
    } else {
      const leaving = Math.max(1, rowsToRemove(request, size))
      const done = (): number =>
        Math.min(1, (learner.table(name).stats().evicted - evicted) / leaving)
      if (request.ttlMs !== undefined) yield* this.#inSteps({ ...entry, expired: 1 }, done)
      yield* this.#inSteps(entry, done)
    }
    const after = learner.table(name)
    const removed = after.stats().evicted - evicted
    return { table: name, before: size, removed, rows: after.size }
  }

  async *#inSteps(entry: StepsEntry, done: () => number): AsyncGenerator<number, void> {
    const { learner, journal } = this.#parts
    await journal(entries.start, entry)
    this.#start(entry.table, entry)
    while (learner.table(entry.table).isRestricting) {
      yield done()
      // A batch in between may have taken the last step.
      if (!learner.table(entry.table).isRestricting) return
      await journal(entries.step, { table: entry.table })
      await this.#step(entry.table)
    }
  }

  async *#preview(name: string, request: RestrictRequest): RestrictSteps {
    const table = this.#parts.learner.table(name)
    const preview = table.previewRestrict(request, samples)
    while (preview.advance()) yield 0
    const { rows: before, leaving: removed, byCount, byAge, sample } = preview.report()
    const report = { byCount, byAge, sample }
    return { table: name, before, removed, rows: before - removed, report }
  }

  async #whole(table: string | undefined, limits: RestrictLimits): Promise<void> {
    this.#removed(await this.#parts.learner.restrict(table, limits))
  }

  #start(table: string, payload: Plain): void {
    const isExpiry = payload['expired'] !== undefined
    this.#parts.learner.startRestrict(table, limitsOf(payload), isExpiry)
  }

  async #step(table: string): Promise<void> {
    this.#removed(await this.#parts.learner.stepRestrict(table))
  }

  #removed(rows: number): void {
    if (rows > 0) this.#parts.onRemoved(rows)
  }

  /** What is journaled must not fail when it is repeated, so everything is checked here. */
  #targets(command: RestrictCommand): readonly (readonly [string, RestrictRequest])[] {
    const { tables } = this.#parts.learner
    const { table } = command
    if (table !== undefined && !tables.has(table)) {
      const reason = `there is no table ${table}; there are ${[...tables.keys()].join(', ')}`
      throw new ServiceError('REQUEST_INVALID', { path: 'table', reason })
    }
    const targets: (readonly [string, RestrictRequest])[] = []
    for (const [name, { spec }] of tables) {
      const own = ownRequest(spec)
      if (table === undefined ? own === undefined : name !== table) continue
      targets.push([name, requestOf(command, own)])
    }
    return targets
  }
}

/** Of one table: how far it is, 0..1. */
type RestrictSteps = AsyncGenerator<number, RestrictedTable>

/** The same steps as a part of all. */
async function* shareOf(steps: RestrictSteps, from: number, share: number): RestrictSteps {
  for (;;) {
    const step = await steps.next()
    if (step.done === true) return step.value
    yield from + share * step.value
  }
}

/** The command's word, or the table's own: `restrict(numReserved, trigger = numReserved)`. */
function requestOf(command: RestrictCommand, own: RestrictRequest | undefined): RestrictRequest {
  const numReserved = command.numReserved ?? own?.numReserved
  if (numReserved === undefined) {
    const reason = 'is needed: this table has no restrict of its own'
    throw new ServiceError('REQUEST_INVALID', { path: 'numReserved', reason })
  }
  const policy = command.policy ?? own?.policy ?? 'frequency'
  const trigger = command.trigger ?? command.numReserved ?? own?.trigger ?? numReserved
  const request = { ...own, numReserved, trigger, policy }
  rowsToRemove(request, 0)
  return request
}

/** As the journal gives it back. */
type Plain = Readonly<Record<string, Json>>

function limitsOf({ numReserved, trigger, policy }: Plain): RestrictLimits {
  return {
    ...(numReserved !== undefined && { numReserved: Number(numReserved) }),
    ...(trigger !== undefined && { trigger: Number(trigger) }),
    ...((policy === 'frequency' || policy === 'timestamp' || policy === 'combined') && { policy }),
  }
}
