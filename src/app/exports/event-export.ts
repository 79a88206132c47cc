/**
 * `freshet export events`: the event log as NDJSON, in the words of the API, so that `freshet
 * import` or `POST /v1/events` takes it elsewhere. The offset of each is beside it.
 */
import type { Event } from '../../stream/event.ts'
import { openFileLogReader } from '../../stream/files/segment-reader.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { eventsOf } from '../inspection.ts'
import { dataPaths } from '../options.ts'
import { writeWhole } from '../tables/table-files.ts'

export interface EventExportOptions {
  readonly config: Config
  readonly file: string
  /** The first offset; absent: the oldest that is kept. */
  readonly from?: number
  readonly onEvents: (done: number, total: number) => void
}

const eventsPerPiece = 1_000

/** A service may be running: what it has written until now. Throws what reading the log throws. */
export async function exportEvents(options: EventExportOptions): Promise<JsonObject> {
  const { config, file, from, onEvents } = options
  const log = await openFileLogReader({ directory: dataPaths(config.process.dataDirectory).log })
  try {
    const [start, end] = [await log.start(), await log.end()]
    const first = from ?? Number(start[0] ?? 0)
    const last = Number(end[0] ?? 0)
    const counted = { events: 0 }
    const told = (): void => onEvents(counted.events, last - first)
    await writeWhole(file, pieces(eventsOf(log, { 0: String(first) }), { last, counted, told }))
    return { file, events: counted.events, from: String(first), next: String(last) }
  } finally {
    await log.close()
  }
}

interface Progress {
  readonly last: number
  readonly counted: { events: number }
  readonly told: () => void
}

async function* pieces(
  events: AsyncIterable<{ readonly event: Event; readonly offset: string }>,
  { last, counted, told }: Progress,
): AsyncGenerator<Uint8Array> {
  let lines: string[] = []
  for await (const { event, offset } of events) {
    // What comes while it is read is for the next time.
    if (Number(offset) >= last) break
    lines.push(`${JSON.stringify({ offset, ...event })}\n`)
    counted.events += 1
    if (lines.length < eventsPerPiece) continue
    yield Buffer.from(lines.join(''))
    lines = []
    told()
  }
  yield Buffer.from(lines.join(''))
}
