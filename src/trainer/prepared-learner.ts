/**
 * A learner at the point from which it goes on: new, or as a checkpoint left it. A standby has one
 * ready before it is asked to take over.
 */
import type { Clock } from '../base/clock.ts'
import type { Position } from '../stream/event-log.ts'
import type { NumberedEntry } from '../stream/files/journal.ts'
import { Backlog } from './backlog.ts'
import { breather } from './breather.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import type { FarRows } from './far-rows.ts'
import { Learner } from './learner.ts'
import { type FarRowsParts, openFarRows } from './open-far-rows.ts'

/** Work between two looks at messages, commands and the clock. */
export const sliceMs = 5

export interface PreparedLearner {
  readonly learner: Learner
  readonly backlog: Backlog
  readonly farRows: FarRows | undefined
  /** Where its state came from; undefined: it knew nothing. */
  readonly checkpoint: Checkpoint | undefined
  /** How far it has followed a journal since then; absent: not at all. */
  readonly followed?: Followed
}

/** Where a state stands: behind an entry of a journal. */
export interface Followed {
  /** Number of the next entry. */
  readonly sequence: number
  readonly position: Position
  readonly last: NumberedEntry
}

/**
 * With the state of the checkpoint, if there is one. Throws `CONFIG_INVALID`, `MEMORY_EXHAUSTED`,
 * `ROW_STORE_*` and what `load` throws.
 */
export async function preparedLearner(
  options: FarRowsParts,
  checkpoint: Checkpoint | undefined,
): Promise<PreparedLearner> {
  const { model, process, clock } = options
  const { threads, kernels, evaluationDeltaMs: deltaIntervalMs } = process
  const backlog = new Backlog(clock)
  const farRows = await openFarRows(options)
  const now = (): number => clock.monotonic()
  const breathe = breatheOf(options, clock, backlog)
  const settings = { threads, kernels, breathe, farRows, now, deltaIntervalMs }
  const learner = await Learner.create(model, settings)
  try {
    if (checkpoint !== undefined) learner.load((part) => checkpoint.chunks(part))
  } catch (error) {
    await closePrepared({ learner, farRows })
    throw error
  }
  return { learner, backlog, farRows, checkpoint }
}

export async function closePrepared({
  learner,
  farRows,
}: Pick<PreparedLearner, 'learner' | 'farRows'>): Promise<void> {
  await learner.close()
  await farRows?.close()
}

/** A replay is done the sooner the better; beside a service others need the processor. */
const breatheOf = ({ process }: FarRowsParts, clock: Clock, backlog: Backlog) =>
  process.journalDirectory === undefined ? undefined : breather(clock, sliceMs, backlog)
