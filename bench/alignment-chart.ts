/**
 * Draws what `freshet bench alignment --json` printed, recall of the live index over time, as SVG
 * on the standard output: `alignment-chart.ts alignment.json [10|100]`.
 */
import { readFileSync } from 'node:fs'

import { lineChart } from './line-chart.ts'

interface Point {
  readonly seconds: number
  readonly recall10: number
  readonly recall100: number
}

interface Report {
  readonly runs: readonly { readonly embedPerSecond: number; readonly series: readonly Point[] }[]
  readonly parameters: { readonly items: number; readonly events: number; readonly seconds: number }
}

const steps = 6
const file = process.argv[2] ?? 'alignment.json'
const k = process.argv[3] === '100' ? 100 : 10
const { runs, parameters }: Report = JSON.parse(
  readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '',
)
const items = parameters.items.toLocaleString('en')
const events = parameters.events.toLocaleString('en')

const curves = runs.map(({ embedPerSecond, series }) => ({
  name: `${embedPerSecond.toLocaleString('en')} items embedded again a second, at most`,
  points: series.map((p) => ({ x: p.seconds, y: k === 10 ? p.recall10 : p.recall100 })),
}))
const recalls = curves.flatMap(({ points }) => points.map(({ y }) => y))
const from = Math.min(0.9, Math.floor(Math.min(...recalls) * 20) / 20)
const divided = (begin: number, end: number): readonly number[] =>
  Array.from({ length: steps + 1 }, (_, i) =>
    Number((begin + (i * (end - begin)) / steps).toFixed(3)),
  )
const longest = Math.max(...curves.flatMap(({ points }) => points.map(({ x }) => x)))
process.stdout.write(
  lineChart(
    { title: 'seconds', from: 0, to: longest, marks: divided(0, longest).map(Math.round) },
    {
      title: `recall@${k} against items embedded that moment; ${items} items, ${events} events/s`,
      from,
      to: 1,
      marks: divided(from, 1),
    },
    curves,
  ),
)
