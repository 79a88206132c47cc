/**
 * Draws recall against queries a second, as SVG, on the standard output: `chart.ts rivals.jsonl
 * freshet.json`. Up and to the right is better; the rates are on a logarithmic scale.
 */
import { readFileSync } from 'node:fs'

interface Point {
  readonly recall10: number
  readonly queriesPerSecond: number
}

const [width, height, margin] = [820, 520, 64]
const leastRecall = 0.8
const colours = ['#c0392b', '#2471a3', '#b7950b', '#7d3c98', '#117a65']
const own = '#111111'

const [, , rivalsFile = 'rivals.jsonl', ownFile = 'freshet.json'] = process.argv

/** Curves by name, each in the order of recall. */
function curves(): ReadonlyMap<string, readonly Point[]> {
  const lines = readFileSync(rivalsFile, 'utf8').trim().split('\n')
  const points = lines
    .map((line): Partial<Point> & { library: string } => JSON.parse(line))
    .filter((line): line is Point & { library: string } => line.queriesPerSecond !== undefined)
  const { curve }: { curve: readonly Point[] } = JSON.parse(readFileSync(ownFile, 'utf8'))
  return new Map([
    ...[...Map.groupBy(points, ({ library }) => library)].map(sorted),
    sorted(['freshet', curve]),
  ])
}

const sorted = ([name, points]: [string, readonly Point[]]): [string, readonly Point[]] => [
  name,
  points
    .filter(({ recall10 }) => recall10 >= leastRecall)
    .toSorted((a, b) => a.recall10 - b.recall10),
]

function draw(all: ReadonlyMap<string, readonly Point[]>): string {
  const rates = [...all.values()].flat().map(({ queriesPerSecond }) => queriesPerSecond)
  const [low, high] = [Math.floor(Math.log10(Math.min(...rates))), Math.log10(Math.max(...rates))]
  const x = (recall: number): number =>
    margin + ((recall - leastRecall) / (1 - leastRecall)) * (width - 2 * margin)
  const y = (rate: number): number =>
    height - margin - ((Math.log10(rate) - low) / (high - low)) * (height - 2 * margin)
  const lines = [...all].map(([name, points], i) => {
    const colour = name === 'freshet' ? own : colours[i % colours.length]
    const path = points.map(
      (p) => `${x(p.recall10).toFixed(1)},${y(p.queriesPerSecond).toFixed(1)}`,
    )
    return [
      `<polyline points="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...path.map((at) => circle(at, colour)),
      `<text x="${margin + 16}" y="${height - margin - 16 - 18 * i}" fill="${colour}">${name}</text>`,
    ].join('\n')
  })
  const recalls = [0.8, 0.85, 0.9, 0.95, 0.975, 1]
  const decades = Array.from({ length: Math.floor(high) - low + 1 }, (_, i) => 10 ** (low + i))
  const axes = [
    ...recalls.map((recall) => rule(x(recall), margin, x(recall), height - margin)),
    ...recalls.map((recall) => label(x(recall), height - margin + 20, String(recall), 'middle')),
    ...decades.map((rate) => rule(margin, y(rate), width - margin, y(rate))),
    ...decades.map((rate) => label(margin - 8, y(rate) + 4, rate.toLocaleString('en'), 'end')),
    label(width / 2, height - 16, 'recall@10', 'middle'),
    label(margin, margin - 24, 'queries a second, one thread, one query a call', 'start'),
  ]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...axes,
    ...lines,
    '</svg>',
    '',
  ].join('\n')
}

const circle = (at: string, colour: string): string => {
  const [cx, cy] = at.split(',')
  return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`
}
const rule = (x1: number, y1: number, x2: number, y2: number): string =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#dddddd"/>`
const label = (x: number, y: number, text: string, anchor: string): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#333333">${text}</text>`

process.stdout.write(draw(curves()))
