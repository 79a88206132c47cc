/**
 * `freshet import FILE`: two passes. The first says what the file holds and what is wrong with it;
 * the second sends what is good, in the order of time, and keeps a receipt of how far it is. The id
 * of each event is made of the file's digest and the number of its row: what is sent twice, because
 * an answer was lost, counts once.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { basename } from 'node:path'

import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { JsonObject } from '../command.ts'
import type { ProgressBar } from '../progress-bar.ts'
import type { ImportKind } from './mapping.ts'
import { digestOf, openSource } from './open-source.ts'
import { ImportPlan, type Made, type Rejected } from './plan.ts'
import type { ImportSource, SourceOptions } from './source.ts'
import { type Survey, surveyOf, timeOf } from './survey.ts'
import type { ImportTarget } from './target.ts'

export interface ImportFileOptions {
  readonly file: string
  readonly kind: ImportKind
  readonly mapping?: string
  readonly type: string
  readonly timeFormat?: string
  readonly source: SourceOptions
  /** False: in the order of the file, whatever its times say. */
  readonly sort: boolean
  /** Take it although it was taken before. */
  readonly again: boolean
  readonly rejectsFile?: string
  readonly maxFutureMs: number
  /** How long a service of this configuration remembers a user who does nothing. */
  readonly retentionMs: number
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly bar: ProgressBar
}

/** A file as it was understood. */
export interface Understood {
  readonly options: ImportFileOptions
  readonly source: ImportSource
  readonly plan: ImportPlan
  readonly survey: Survey
  /** Of its receipt: of the bytes of the file, and all that decides what they become. */
  readonly id: string
  readonly isSorted: boolean
}

/** Rows later than this behind a newer one are put in order. */
const tolerableLatenessMs = 60_000
/** So many events are held in memory to be put in order. */
const mostSorted = 10_000_000

const eventsPerRequest = 2_000
/** Well below the limit of a JSON body. */
const requestBytes = 512 * 1_024
const receiptEveryMs = 1_000

/** The first pass. Throws `INPUT_UNREADABLE`, `INPUT_INVALID`, `RECORDING_COLUMNS`. */
export async function understand(options: ImportFileOptions): Promise<Understood> {
  const { file, kind, clock, bar, rejectsFile } = options
  const source = await openSource(file, options.source)
  const plan = new ImportPlan(source, options)
  const id = receiptIdOf(await digestOf(file), plan, options)
  const short = id.slice(0, 12)
  plan.idPrefix = options.again ? `import-${short}-${clock.now()}` : `import-${short}`
  using rejects = rejectsFile === undefined ? undefined : new RejectsFile(rejectsFile, file)
  const survey = await surveyOf(source, plan, {
    now: clock.now(),
    onRows: (rows) => bar.show(`reading ${kind}`, rows),
    onRefused: (refused) => rejects?.write(refused),
  })
  const isSorted = options.sort && survey.latenessMs > tolerableLatenessMs
  return { options, source, plan, survey, id, isSorted }
}

/** The same file, of which other events come, is another import. */
function receiptIdOf(digest: string, plan: ImportPlan, options: ImportFileOptions): string {
  const { kind, type, timeFormat, source, sort } = options
  const uses = plan.uses
    .map((use) => JSON.stringify([use.field, use.name, use.column, use.type]))
    .toSorted()
  const decides = JSON.stringify([digest, kind, uses, type, timeFormat, source.encoding, sort])
  return createHash('sha256').update(decides).digest('hex').slice(0, 32)
}

/** The second pass. Throws what sending throws; what was sent until then stands. */
export async function send(understood: Understood, target: ImportTarget): Promise<JsonObject> {
  const { options, survey, id, isSorted } = understood
  const { clock, signal, file, again, bar } = options
  if (survey.good === 0) throw nothingGood(file, survey)
  if (isSorted && survey.good > mostSorted) throw tooMany(file)
  const before = again ? undefined : await target.receipt(id)
  const name = basename(file).slice(0, 256)
  if (before?.done === true) return finished({ ...before, sent: 0, refused: 0, seconds: 0 })
  const skipped = before?.events ?? 0
  let [sent, refused, keptAt] = [skipped, 0, clock.monotonic()]
  const begun = keptAt
  const receipt = (done: boolean) => {
    const rows = done ? survey.rows : sent
    return { id, name, rows, events: sent, done, at: clock.now() }
  }
  const settle = async ({ events, refusals }: UnderWay): Promise<void> => {
    refused += (await refusals).length
    sent += events.length
    bar.show(`sending to ${target.name}`, sent, survey.good)
    if (clock.monotonic() - keptAt < receiptEveryMs) return
    keptAt = clock.monotonic()
    await target.keep(receipt(false))
  }
  // While one is under way the next is made.
  let underWay: UnderWay | undefined
  for await (const events of batches(eventsOf(understood), skipped)) {
    if (underWay !== undefined) await settle(underWay)
    underWay = undefined
    if (signal.aborted) break
    underWay = { events, refusals: target.send(events) }
    // Its failure is thrown where it is waited for, not before.
    underWay.refusals.catch(() => {})
  }
  if (underWay !== undefined) await settle(underWay)
  const done = sent === survey.good
  await target.keep(receipt(done))
  const seconds = (clock.monotonic() - begun) / 1_000
  return finished({ ...receipt(done), sent: sent - skipped, refused, seconds })
}

interface UnderWay {
  readonly events: readonly Made[]
  readonly refusals: ReturnType<ImportTarget['send']>
}

interface Finished {
  readonly events: number
  readonly sent: number
  readonly refused: number
  readonly done: boolean
  readonly seconds: number
}

const finished = ({ events, sent, refused, done, seconds }: Finished): JsonObject => ({
  sent,
  /** Of the same file, taken before. */
  before: events - sent,
  refused,
  complete: done,
  seconds,
  eventsPerSecond: seconds > 0 ? sent / seconds : 0,
})

async function* eventsOf(understood: Understood): AsyncGenerator<readonly Made[]> {
  if (!understood.isSorted) {
    yield* inFileOrder(understood)
    return
  }
  const all: Made[] = []
  for await (const made of inFileOrder(understood)) for (const one of made) all.push(one)
  const now = understood.options.clock.now()
  yield all
    .map((made) => ({ made, time: timeOf(made.wire) ?? now }))
    .toSorted((a, b) => a.time - b.time)
    .map(({ made }) => made)
}

async function* inFileOrder({ source, plan, options }: Understood) {
  const now = options.clock.now()
  let number = 0
  for await (const rows of source.rows(plan.columns)) {
    const made: Made[] = []
    for (const row of rows) {
      const one = plan.make(row, number, now)
      number += 1
      if ('wire' in one) made.push(one)
    }
    yield made
  }
}

/** Without the first `skip`, in pieces that a request can hold. */
async function* batches(
  pieces: AsyncGenerator<readonly Made[]>,
  skip: number,
): AsyncGenerator<readonly Made[]> {
  let left = skip
  let batch: Made[] = []
  let bytes = 0
  for await (const piece of pieces) {
    for (const made of piece) {
      if (left > 0) {
        left -= 1
        continue
      }
      const size = Buffer.byteLength(JSON.stringify(made.wire))
      if (batch.length === eventsPerRequest || (batch.length > 0 && bytes + size > requestBytes)) {
        yield batch
        batch = []
        bytes = 0
      }
      batch.push(made)
      bytes += size
    }
  }
  if (batch.length > 0) yield batch
}

function nothingGood(file: string, { firstRefused: [first], rows }: Survey): ServiceError {
  const place = first === undefined ? 'its start' : `line ${first.line}`
  const reason =
    first === undefined ? 'no rows' : `none of ${rows} rows is good; ${first.path}: ${first.reason}`
  return new ServiceError('INPUT_INVALID', { file, place, reason })
}

const tooMany = (what: string): ServiceError => {
  const reason =
    `its rows are not in the order of time, and more than ${mostSorted} are not sorted here: ` +
    'sort it before, or pass --no-sort'
  return new ServiceError('USAGE_INVALID', { what, reason })
}

/** Rows that were refused, as lines of JSON; bounded. */
class RejectsFile implements Disposable {
  readonly #file: string
  readonly #descriptor: number
  #left = 1_000_000

  /** Throws `OUTPUT_FAILED`. */
  constructor(path: string, file: string) {
    this.#file = file
    try {
      this.#descriptor = openSync(path, 'w')
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new ServiceError('OUTPUT_FAILED', { file: path, reason }, { cause })
    }
  }

  write({ line, path, reason, cells }: Rejected): void {
    if (this.#left === 0) return
    this.#left -= 1
    const text = JSON.stringify({ file: this.#file, line, path, reason, cells }, plainNumbers)
    writeSync(this.#descriptor, `${text}\n`)
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor)
  }
}

/** JSON has no large integers of Parquet. */
export const plainNumbers = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value
