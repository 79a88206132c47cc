/** What the demo prints: a line of figures every few seconds, and Ada's story. Pure text. */
import type { Metrics } from '../scrape.ts'
import { type Bucket, bucketsSince, quantile } from '../scrape.ts'
import type { Episode } from './story.ts'

const columns = [
  ['time', 6],
  ['events/s', 9],
  ['examples/s', 11],
  ['fact', 10],
  ['parameter', 11],
  ['index', 11],
  ['model', 8],
  ['popular', 8],
  ['co-vis', 8],
  ['items', 8],
] as const

const row = (cells: readonly string[]): string =>
  cells.map((cell, i) => cell.padStart(columns[i]?.[1] ?? 0)).join('')

/** Two lines above the figures. */
export const heading = (): readonly string[] => [
  `${' '.repeat(26)}freshness p50/p99 ms${' '.repeat(14)}HR@10 of the last 2,000`,
  row(columns.map(([name]) => name)),
]

const stages = ['fact', 'parameter', 'index'] as const
const rankers = ['model', 'recentlyPopular', 'coVisitation'] as const

const stageBuckets = (metrics: Metrics, stage: string): readonly Bucket[] =>
  metrics.buckets('freshet_freshness_duration_seconds', `stage="${stage}"`)

const milliseconds = (seconds: number | undefined): string =>
  seconds === undefined ? '-' : String(Math.round(seconds * 1000))

/** Rates and freshness are of the time between the two scrapes. */
export function figures(
  { now, before }: { now: Metrics; before: Metrics },
  { atSeconds, overSeconds }: { atSeconds: number; overSeconds: number },
): string {
  const rate = (name: string): string =>
    String(Math.round((now.sum(name) - before.sum(name)) / overSeconds))
  const freshness = stages.map((stage) => {
    const buckets = bucketsSince(stageBuckets(now, stage), stageBuckets(before, stage))
    const [p50, p99] = [0.5, 0.99].map((share) => milliseconds(quantile(buckets, share)))
    return p50 === '-' ? '-' : `${p50}/${p99}`
  })
  const hits = rankers.map((ranker) => {
    const value = now.get(`freshet_evaluation_hit_ratio{ranker="${ranker}"}`)
    return value === undefined ? '-' : value.toFixed(3)
  })
  const items = now.get('freshet_facts_items')?.toLocaleString('en') ?? '-'
  return row([
    `${Math.round(atSeconds)}s`,
    rate('freshet_ingest_accepted_events_total'),
    rate('freshet_trainer_examples_total'),
    ...freshness,
    ...hits,
    items,
  ])
}

/** Two lists side by side; what is new in the second is marked. */
export function* episodeLines({ clicked, before, after, tookMs }: Episode): Generator<string> {
  yield ''
  yield `  Ada clicks "${clicked}"; ${tookMs.toFixed(1)} ms later her list has changed:`
  const width = Math.max(30, ...before.map((title) => title.length)) + 2
  for (let i = 0; i < Math.max(before.length, after.length); i += 1) {
    const left = before.at(i) ?? ''
    const right = after.at(i) ?? ''
    const mark = right !== '' && !before.includes(right) ? '+' : ' '
    yield `    ${left.padEnd(width)} -> ${mark} ${right}`
  }
  yield ''
}
