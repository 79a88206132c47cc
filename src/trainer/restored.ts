/**
 * What a trainer begins with: the state of the newest checkpoint, or what a standby has made of one
 * by following the journal, where that is further and on the journal's way.
 */
import type { EventLogReader } from '../stream/event-log.ts'
import { leadsOn } from '../stream/files/journal-tail.ts'
import type { CheckpointCopies } from './checkpoint/checkpoint-copies.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import { Checkpoints, type Place } from './checkpoint/checkpoints.ts'
import type { JournalCopy } from './journal/journal-copy.ts'
import { reaches } from './journal/repeat.ts'
import { openJournal, type TrainerJournal } from './journal/trainer-journal.ts'
import type { FarRowsParts } from './open-far-rows.ts'
import {
  closePrepared,
  type Followed,
  type PreparedLearner,
  preparedLearner,
} from './prepared-learner.ts'
import type { TrainerReport } from './trainer-status.ts'

export interface RestoreOptions extends FarRowsParts {
  readonly reader: EventLogReader
  readonly copies?: CheckpointCopies
  readonly journalCopy?: JournalCopy
}

export interface Restored extends PreparedLearner, Place {
  readonly checkpoints: Checkpoints | undefined
  readonly journal: TrainerJournal | undefined
}

/** A checkpoint that is so many entries further is restored in less time than they take. */
export const maxEntriesBehind = 2_000

/**
 * `ahead` is used or closed. Throws `CHECKPOINT_INCOMPATIBLE`, `CONFIG_INVALID`,
 * `MEMORY_EXHAUSTED`, `JOURNAL_DAMAGED`, `ROW_STORE_*` and the log's errors.
 */
export async function restored(
  options: RestoreOptions,
  ahead: PreparedLearner | undefined,
): Promise<Restored> {
  const { process, reader, report = () => {} } = options
  const checkpoints =
    process.checkpoints && new Checkpoints({ ...process.checkpoints, ...options, report })
  const found = await checkpoints?.find(reader)
  const journal = await openJournal(process, options.journalCopy)
  try {
    const prepared = await chosen(options, ahead, { found, journal, reader })
    const place = await begun(prepared, { found, checkpoints, reader, report })
    return { ...prepared, ...place, checkpoints, journal }
  } catch (error) {
    journal?.close()
    throw error
  }
}

async function chosen(
  options: RestoreOptions,
  ahead: PreparedLearner | undefined,
  target: Target,
): Promise<PreparedLearner> {
  if (ahead === undefined) return await preparedLearner(options, target.found)
  if (await isWorthMore(ahead, target)) return ahead
  await closePrepared(ahead)
  return await preparedLearner(options, target.found)
}

interface Beginning extends Pick<RestoreOptions, 'reader'> {
  readonly found: Checkpoint | undefined
  readonly checkpoints: Checkpoints | undefined
  readonly report: (report: TrainerReport) => void
}

/** Where it begins. */
async function begun(
  prepared: PreparedLearner,
  { found, checkpoints, reader, report }: Beginning,
): Promise<Place> {
  try {
    if (found !== undefined) await checkpoints?.restored(found)
    const { followed, learner, farRows } = prepared
    const { engine } = learner.model
    const message = `the towers run on ${engine}`
    report({ level: 'info', code: 'engineChosen', message, details: { engine } })
    await farRows?.start(found?.sequence ?? -1)
    const sequence = followed?.sequence ?? found?.sequence ?? 0
    if (followed !== undefined) reportFollowed(sequence, report)
    return { sequence, position: (followed ?? found)?.position ?? (await reader.start()) }
  } catch (error) {
    await closePrepared(prepared)
    throw error
  }
}

function reportFollowed(sequence: number, report: (report: TrainerReport) => void): void {
  const message = `had followed the journal to its entry ${sequence}`
  report({ level: 'info', code: 'journalFollowed', message, details: { sequence } })
}

interface Target {
  readonly found: Checkpoint | undefined
  readonly journal: TrainerJournal | undefined
  readonly reader: EventLogReader
}

/** Than the checkpoint that was found. */
async function isWorthMore(
  { followed, checkpoint }: PreparedLearner,
  { found, journal, reader }: Target,
): Promise<boolean> {
  if (followed === undefined) return isSame(checkpoint, found)
  if (found === undefined || journal === undefined) return false
  const isFar = followed.sequence + maxEntriesBehind >= found.sequence
  if (!isFar || !isOnTheWay(followed, journal)) return false
  return reaches(reader, await reader.end(), followed.position)
}

const isOnTheWay = (followed: Followed, journal: TrainerJournal): boolean =>
  leadsOn(followed, { first: journal.first, entries: journal.entries(journal.first) })

const isSame = (a: Checkpoint | undefined, b: Checkpoint | undefined): boolean =>
  a?.sequence === b?.sequence && String(a?.checksums) === String(b?.checksums)
