/**
 * Draws recall against queries a second, as SVG, on the standard output: `chart.ts rivals.jsonl
 * freshet.json`. Up and to the right is better; the rates are on a logarithmic scale.
 */
import { readFileSync } from 'node:fs'

import { type Curve, lineChart } from '../line-chart.ts'

interface Point {
  readonly recall10: number
  readonly queriesPerSecond: number
}

const leastRecall = 0.8
const marks = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000]

const [, , rivalsFile = 'rivals.jsonl', ownFile = 'freshet.json'] = process.argv

function curves(): readonly Curve[] {
  const lines = readFileSync(rivalsFile, 'utf8').trim().split('\n')
  const points = lines
    .map((line): Partial<Point> & { library: string } => JSON.parse(line))
    .filter((line): line is Point & { library: string } => line.queriesPerSecond !== undefined)
  const { curve }: { curve: readonly Point[] } = JSON.parse(readFileSync(ownFile, 'utf8'))
  const rivals = [...Map.groupBy(points, ({ library }) => library)]
  return [
    ...rivals.map(([name, some]) => ({ name, points: sorted(some) })),
    { name: 'freshet', isOwn: true, points: sorted(curve) },
  ]
}

const sorted = (points: readonly Point[]): Curve['points'] =>
  points
    .filter(({ recall10 }) => recall10 >= leastRecall)
    .toSorted((a, b) => a.recall10 - b.recall10)
    .map(({ recall10, queriesPerSecond }) => ({ x: recall10, y: queriesPerSecond }))

const all = curves()
const rates = all.flatMap(({ points }) => points.map(({ y }) => y))
const y = {
  title: 'queries a second, one thread, one query a call',
  from: Math.min(...rates) * 0.9,
  to: Math.max(...rates) * 1.1,
  isLogarithmic: true,
}
const within = marks.filter((mark) => mark >= y.from && mark <= y.to)
const x = { title: 'recall@10', from: leastRecall, to: 1, marks: [0.8, 0.85, 0.9, 0.95, 0.975, 1] }
process.stdout.write(lineChart(x, { ...y, marks: within }, all))
