/**
 * Draws recall against queries a second, as SVG, on the standard output: `chart.ts DIR`. Up and to
 * the right is better; the rates are on a logarithmic scale. A second of the processor's, so that a
 * busy machine is fair to all; freshet's are of its turns beside the others.
 */
import { type Curve, lineChart } from '../line-chart.ts'
import { type Point, type Rival, rivalsIn } from './results.ts'

const leastRecall = 0.8
const marks = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000]

const [, , folder = '.'] = process.argv

function curvesOf(rivals: readonly Rival[]): readonly Curve[] {
  const turns = Map.groupBy(
    rivals.flatMap(({ points }) => points),
    ({ freshetRecall10 }) => freshetRecall10,
  )
  const own = [...turns].map(([x, some]) => ({ x, y: median(some) }))
  const others = rivals.map(({ name, points }) => ({
    name,
    points: sorted(points.map((one) => ({ x: one.recall10, y: one.ownQueriesPerSecond }))),
  }))
  return [...others, { name: 'freshet', isOwn: true, points: sorted(own) }]
}

const median = (points: readonly Point[]): number =>
  points.map((one) => one.freshetOwnQueriesPerSecond).toSorted((a, b) => a - b)[points.length >> 1]

const sorted = (points: Curve['points']): Curve['points'] =>
  points.filter(({ x }) => x >= leastRecall).toSorted((a, b) => a.x - b.x)

const all = curvesOf(rivalsIn(folder))
const rates = all.flatMap(({ points }) => points.map(({ y }) => y))
const y = {
  title: 'queries a second of one processor, one query a call',
  from: Math.min(...rates) * 0.9,
  to: Math.max(...rates) * 1.1,
  isLogarithmic: true,
}
const within = marks.filter((mark) => mark >= y.from && mark <= y.to)
const x = { title: 'recall@10', from: leastRecall, to: 1, marks: [0.8, 0.85, 0.9, 0.95, 0.975, 1] }
// Before anything was measured there is nothing to draw.
if (rates.length > 0) process.stdout.write(lineChart(x, { ...y, marks: within }, all))
