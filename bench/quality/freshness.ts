/**
 * What freshness is worth: news clicks replayed once for each interval between two deltas, ranked
 * as a reader of those deltas would. `node bench/quality/freshness.ts [--limit 300000]` prints a
 * table and draws `docs/images/freshness-worth.svg`.
 */
import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'

import { z } from 'zod'

import { lineChart } from '../line-chart.ts'
import { dataFolder } from './protocols.ts'

const clicks = `${dataFolder}/globo-news/clicks_days1-9.csv.gz`
const chart = 'docs/images/freshness-worth.svg'
const program = 'src/app/cli.ts'

/** Between two deltas, in seconds; 0: one after every batch. */
const intervals = [
  { seconds: 0, name: 'every batch' },
  { seconds: 60, name: '1 min' },
  { seconds: 600, name: '10 min' },
  { seconds: 3_600, name: '1 h' },
  { seconds: 21_600, name: '6 h' },
]
/** Where a batch of 128 stands on the axis: what it takes of this stream. */
const batchSeconds = 40

const ranking = z.object({ hr10: z.number(), mrr10: z.number() })
const result = z.object({
  progressive: ranking,
  baselines: z.object({ recentlyPopular: ranking, coVisitation: ranking }),
  cohorts: z.object({ fresh: ranking }),
  stateDigest: z.string(),
})
type Result = z.infer<typeof result>

const { values } = parseArgs({ options: { limit: { type: 'string', default: '300000' } } })

async function replay(seconds: number): Promise<Result> {
  const flags = ['--limit', values.limit, '--delta-interval', String(seconds), '--json']
  process.stderr.write(`node ${program} replay ${clicks} ${flags.join(' ')}\n`)
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [program, 'replay', clicks, '--config', 'configs/news.yaml', ...flags],
    { maxBuffer: 1 << 26 },
  )
  return result.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''))
}

const short = (share: number): string => share.toFixed(3).replace(/^0/, '')

function draw(results: readonly Result[]): string {
  const at = (value: (one: Result) => number) =>
    results.map((one, i) => ({
      x: Math.max(batchSeconds, intervals[i].seconds) / 60,
      y: value(one),
    }))
  const x = {
    title: 'minutes between two deltas of the parameters (the first: one after every batch)',
    from: 0.5,
    to: 480,
    marks: [1, 10, 60, 360],
    isLogarithmic: true,
  }
  const y = { title: 'HR@10', from: 0, to: 0.8, marks: [0, 0.2, 0.4, 0.6, 0.8] }
  return lineChart(x, y, [
    { name: 'all clicks', isOwn: true, points: at(({ progressive }) => progressive.hr10) },
    { name: 'articles under an hour old', points: at(({ cohorts }) => cohorts.fresh.hr10) },
    { name: 'recently popular', points: at(({ baselines }) => baselines.recentlyPopular.hr10) },
    { name: 'co-visitation', points: at(({ baselines }) => baselines.coVisitation.hr10) },
  ])
}

const row = (name: string, cells: readonly string[]): string =>
  `| ${[name, ...cells].join(' | ')} |\n`

async function main(): Promise<void> {
  if (!existsSync(clicks)) throw new Error(`${clicks} is to lie beside the project`)
  const results: Result[] = []
  for (const { seconds } of intervals) results.push(await replay(seconds))
  process.stdout.write(
    row(
      'a delta every',
      intervals.map(({ name }) => name),
    ) +
      `|${'---|'.repeat(intervals.length + 1)}\n` +
      row(
        'HR@10',
        results.map(({ progressive }) => short(progressive.hr10)),
      ) +
      row(
        'MRR@10',
        results.map(({ progressive }) => short(progressive.mrr10)),
      ) +
      row(
        'HR@10, articles under an hour old',
        results.map(({ cohorts }) => short(cohorts.fresh.hr10)),
      ),
  )
  writeFileSync(chart, draw(results))
}

await main()
