/**
 * `freshet import kafka`: the events of a topic into the log of a service that is stopped, in the
 * order of time. It prints where it has ended, so that another import can go on from there; events
 * that have an id are counted once within the window of duplicates, as always.
 */
import type { Clock } from '../../base/clock.ts'
import { FileLog } from '../../stream/files/file-log.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { makeDirectory } from '../make-directory.ts'
import { dataPaths } from '../options.ts'
import { openTopic, positionText } from './kafka-source.ts'

export interface ImportKafkaOptions {
  readonly config: Config
  readonly url: string
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly progress: (line: string) => void
}

const eventsPerAppend = 1_000
const progressMs = 2_000

/** Throws what opening the topic and the log throw. */
export async function importKafka(options: ImportKafkaOptions): Promise<JsonObject> {
  const { config, url, clock, signal, progress } = options
  const { log: directory } = dataPaths(config.process.dataDirectory)
  const topic = await openTopic(url, {
    maxFutureMs: config.model.facts.futureSkewMs,
    report: ({ message }) => progress(message),
  })
  const startedAt = clock.monotonic()
  const position: Record<number, string> = { ...(await topic.reader.start()) }
  let events = 0
  let toldAt = startedAt
  try {
    makeDirectory(config.process.dataDirectory)
    await using target = await openTarget(directory, config.process.log.fsync)
    for (;;) {
      const read = { maxEvents: eventsPerAppend, waitMs: 0, signal }
      const batches = await topic.reader.read(position, read)
      if (batches.length === 0) break
      await target.log.append(batches.flatMap((batch) => batch.events))
      for (const batch of batches) {
        events += batch.events.length
        position[batch.partition] = batch.next
      }
      if (clock.monotonic() - toldAt < progressMs) continue
      toldAt = clock.monotonic()
      progress(`${events} events`)
    }
    const seconds = (clock.monotonic() - startedAt) / 1_000
    const rejected = topic.log.reading.deadLetters
    const rate = events / seconds
    return { events, rejected, seconds, eventsPerSecond: rate, next: positionText(position) }
  } finally {
    await topic.reader.close()
  }
}

async function openTarget(
  directory: string,
  fsync: Config['process']['log']['fsync'],
): Promise<{ readonly log: FileLog } & AsyncDisposable> {
  const log = await FileLog.open({ directory, fsync })
  return { log, [Symbol.asyncDispose]: () => log.close() }
}
