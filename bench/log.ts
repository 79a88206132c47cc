/**
 * `freshet bench log`: how fast interactions go into the file log, in appends of `batch` events,
 * under each fsync policy, and how fast they come out again, decoded. Writers wait for each append
 * before the next; `always4` has four of them, whose appends share syncs (group commit). On the
 * disk of the temporary directory; read back from the page cache, without and with folding the
 * events into facts, as a replica does when it starts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Random, seededRandom } from '../src/base/random.ts'
import type { Event, Interaction } from '../src/stream/event.ts'
import { Facts } from '../src/stream/facts/facts.ts'
import { FileLog, type FileLogOptions } from '../src/stream/files/file-log.ts'
import { openFileLogReader } from '../src/stream/files/segment-reader.ts'

export interface LogBenchOptions {
  readonly events: number
  readonly batch: number
  readonly seed: number
  /** Of each measurement; the median is reported. */
  readonly repeats?: number
}

export interface EventRate {
  readonly [figure: string]: number
  /** Median over the repeats, and their extremes. */
  readonly eventsPerSecond: number
  readonly least: number
  readonly greatest: number
}

export interface LogBenchResult {
  readonly [figure: string]: number | EventRate | { readonly [policy: string]: EventRate }
}

interface Writing {
  readonly name: string
  readonly fsync: FileLogOptions['fsync']
  readonly writers: number
}

const writings: readonly Writing[] = [
  { name: 'always', fsync: 'always', writers: 1 },
  { name: 'always4', fsync: 'always', writers: 4 },
  { name: 'interval', fsync: 'interval', writers: 1 },
  { name: 'never', fsync: 'never', writers: 1 },
]

export async function run(
  options: LogBenchOptions,
  progress: (line: string) => void,
): Promise<LogBenchResult> {
  const { events, batch, seed, repeats = 3 } = options
  const batches = makeBatches(events, batch, seed)
  const append = new Map<string, number[]>()
  const replay: number[] = []
  const catchUp: number[] = []
  let bytes = 0
  // The first round warms up and is not counted.
  for (let repeat = 0; repeat <= repeats; repeat += 1) {
    progress(repeat === 0 ? 'warming up' : `repeat ${repeat} of ${repeats}`)
    for (const writing of writings) {
      const measured = await measure(batches, writing)
      bytes = measured.bytes
      if (repeat === 0) continue
      append.set(writing.name, [
        ...(append.get(writing.name) ?? []),
        events / measured.appendSeconds,
      ])
      replay.push(events / measured.replaySeconds)
      catchUp.push(events / measured.catchUpSeconds)
    }
  }
  const rates = [...append].map(([name, samples]) => [name, rateOf(samples)] as const)
  return {
    events,
    batch,
    bytesPerEvent: Math.round((bytes / events) * 10) / 10,
    append: Object.fromEntries(rates),
    replay: rateOf(replay),
    replayIntoFacts: rateOf(catchUp),
  }
}

/** Clicks as a shop sends them: ids, a type, three fields of context. */
export function makeBatches(events: number, batch: number, seed: number): Interaction[][] {
  const random = seededRandom(seed)
  const batches: Interaction[][] = []
  for (let from = 0; from < events; from += batch) {
    const length = Math.min(batch, events - from)
    batches.push(Array.from({ length }, (_, i) => makeEvent(random, from + i)))
  }
  return batches
}

const pick = (random: Random, names: readonly string[]): string =>
  names[random.integer(names.length)]

function makeEvent(random: Random, ordinal: number): Interaction {
  const acceptedAt = 1_700_000_000_000 + Math.floor(ordinal / 5)
  return {
    kind: 'interaction',
    userId: `user-${random.integer(200_000)}`,
    itemId: `item-${Math.floor(50_000 * random.next() ** 3)}`,
    type: pick(random, ['click', 'click', 'view', 'purchase']),
    timestamp: acceptedAt - random.integer(200),
    acceptedAt,
    context: {
      device: pick(random, ['phone', 'desktop', 'tablet']),
      country: pick(random, ['de', 'fr', 'us', 'br', 'jp']),
      referrer: pick(random, ['search', 'direct', 'newsletter']),
    },
  }
}

interface Measured {
  readonly appendSeconds: number
  readonly replaySeconds: number
  readonly catchUpSeconds: number
  readonly bytes: number
}

async function measure(
  batches: readonly (readonly Interaction[])[],
  { fsync, writers }: Writing,
): Promise<Measured> {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-bench-'))
  const log = await FileLog.open({ directory, fsync })
  try {
    const begin = performance.now()
    const left = batches.values()
    const write = async (): Promise<void> => {
      for (const events of left) await log.append(events)
    }
    await Promise.all(Array.from({ length: writers }, write))
    const appendSeconds = (performance.now() - begin) / 1_000
    const replaySeconds = await measureReplay(log, directory, () => {})
    const facts = new Facts({ examples: false })
    const catchUpSeconds = await measureReplay(log, directory, (event) => facts.apply(event))
    const segments = await log.segments()
    const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
    return { appendSeconds, replaySeconds, catchUpSeconds, bytes }
  } finally {
    await log.close()
    rmSync(directory, { recursive: true })
  }
}

async function measureReplay(
  log: FileLog,
  directory: string,
  visit: (event: Event) => void,
): Promise<number> {
  const reader = await openFileLogReader({ directory, endSignal: log.endSignal })
  const options = { maxEvents: 4_096, waitMs: 0, signal: new AbortController().signal }
  const begin = performance.now()
  let from = await reader.start()
  let read = 0
  for (;;) {
    const [batch] = await reader.read(from, options)
    if (batch === undefined) break
    read += batch.events.length
    for (const event of batch.events) visit(event)
    from = { [batch.partition]: batch.next }
  }
  const seconds = (performance.now() - begin) / 1_000
  await reader.close()
  const { 0: end } = await log.end()
  if (String(read) !== end) throw new Error(`${read} events read of ${end}`)
  return seconds
}

export function rateOf(samples: readonly number[]): EventRate {
  const sorted = samples.toSorted((a, b) => a - b).map(Math.round)
  return {
    eventsPerSecond: sorted[Math.floor(sorted.length / 2)],
    least: sorted[0],
    greatest: sorted[sorted.length - 1],
  }
}
