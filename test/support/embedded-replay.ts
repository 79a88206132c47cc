/**
 * The embedded replay of what a distributed trainer did: the events of its topic in the order in
 * which its journal says that partitions took turns, in a file log, with the same batches and
 * commands in a journal of that log. A trainer over the two is an embedded one that knows of no
 * broker; it must end with the same bits.
 */
import { join } from 'node:path'

import { systemClock } from '../../src/base/clock.ts'
import type { EventLogReader } from '../../src/stream/event-log.ts'
import type { Event } from '../../src/stream/event.ts'
import { FileLog } from '../../src/stream/files/file-log.ts'
import { BatchJournal, type NumberedEntry } from '../../src/stream/files/journal.ts'
import { openFileLogReader } from '../../src/stream/files/segment-reader.ts'
import type { EvaluationReport } from '../../src/trainer/evaluation/evaluator.ts'
import { EventCursor } from '../../src/trainer/event-cursor.ts'
import { eventsOf } from '../../src/trainer/journal/repeat.ts'
import type { TrainerModel, TrainerProcess } from '../../src/trainer/trainer-config.ts'
import { Trainer } from '../../src/trainer/trainer-loop.ts'

export interface Outcome {
  readonly events: number
  readonly steps: number
  readonly stateDigest: string
  readonly evaluation: EvaluationReport
}

export interface EmbeddedReplayOptions {
  /** The topic, and where its first event stands. */
  readonly topic: EventLogReader
  /** Of the trainer, whole: from its first batch on. */
  readonly journal: string
  /** For the file log and its journal. */
  readonly directory: string
  readonly model: TrainerModel
  readonly process: Pick<TrainerProcess, 'threads' | 'kernels' | 'deltaIntervalMs'>
}

const eventsPerRead = 4_096
const eventsPerAppend = 1_000
const untilEnd = { signal: new AbortController().signal, untilEnd: true } as const

export async function replayEmbedded(options: EmbeddedReplayOptions): Promise<Outcome> {
  const { directory, model, process } = options
  const log = join(directory, 'log')
  const journalDirectory = join(directory, 'journal')
  await writeLog(options, { log, journal: join(journalDirectory, 'batches') })
  const reader = await openFileLogReader({ directory: log })
  const settings = { ...process, readMaxEvents: eventsPerRead, journalDirectory }
  const trainer = await Trainer.create({ model, process: settings, reader, clock: systemClock })
  try {
    await trainer.run(untilEnd)
    return await outcomeOf(trainer)
  } finally {
    await trainer.close()
    await reader.close()
  }
}

/** What the newest checkpoint of a trainer's directory holds. */
export async function savedOutcome(
  checkpoints: string,
  { model, process, topic }: Pick<EmbeddedReplayOptions, 'model' | 'process' | 'topic'>,
): Promise<Outcome> {
  const trainer = await Trainer.create({
    model,
    process: {
      ...process,
      readMaxEvents: eventsPerRead,
      checkpoints: { directory: checkpoints, keep: 1_000, intervalMs: 0 },
    },
    reader: topic,
    clock: systemClock,
  })
  try {
    return await outcomeOf(trainer)
  } finally {
    await trainer.close()
  }
}

async function outcomeOf({ learner }: Trainer): Promise<Outcome> {
  return {
    events: learner.facts.events,
    steps: learner.step,
    stateDigest: await learner.digest(),
    evaluation: learner.evaluation(),
  }
}

interface Places {
  readonly log: string
  readonly journal: string
}

async function writeLog({ topic, journal }: EmbeddedReplayOptions, places: Places): Promise<void> {
  const source = new BatchJournal({ path: journal })
  const target = new BatchJournal({ path: places.journal })
  const log = await FileLog.open({ directory: places.log, fsync: 'never' })
  const cursor = new EventCursor(topic, await topic.start(), eventsPerRead)
  try {
    let at = 0
    let pending: Event[] = []
    for (const numbered of source.entries(0)) {
      const { entry } = numbered
      if (entry.kind === 'batch') pending.push(...(await eventsOf(entry, cursor)))
      at = copyEntry(numbered, target, at)
      if (pending.length < eventsPerAppend) continue
      await log.append(pending)
      pending = []
    }
    if (pending.length > 0) await log.append(pending)
  } finally {
    await log.close()
    target.close()
    source.close()
  }
}

/** The same entry for a log of one partition; the ordinal of the event after it. */
function copyEntry({ entry }: NumberedEntry, target: BatchJournal, at: number): number {
  if (entry.kind === 'command') {
    target.append(entry)
    return at
  }
  const { events } = entry
  const next = at + events
  target.append({ kind: 'batch', from: { 0: String(at) }, to: { 0: String(next) }, events })
  return next
}
