/**
 * What there is so far as tables in Markdown, on the standard output: `table.ts DIR`. At each recall
 * the setting of a rival that reaches it and is the fastest, and freshet's turns beside it.
 */
import { ownIn, type Point, type Rival, rivalsIn } from './results.ts'

const recalls = [0.95, 0.975, 0.99]

const [, , folder = '.'] = process.argv

/** The fastest setting that reaches a recall. */
function fastest({ points }: Rival, recall: number): Point | undefined {
  const good = points.filter(({ recall10 }) => recall10 >= recall)
  return good.toSorted((a, b) => b.ownQueriesPerSecond - a.ownQueriesPerSecond)[0]
}

function rowsOf(rival: Rival): readonly string[] {
  return recalls.flatMap((recall) => {
    const point = fastest(rival, recall)
    if (point === undefined) return []
    const { recall10, ownQueriesPerSecond, freshetRecall10, freshetOwnQueriesPerSecond } = point
    const theirs = `${recall10.toFixed(3)}, ${thousands(ownQueriesPerSecond)}`
    const ours = `${freshetRecall10.toFixed(3)}, ${thousands(freshetOwnQueriesPerSecond)}`
    const name = recall === recalls[0] ? rival.name : ''
    return [`| ${name} | ${point.setting} | ${theirs} | ${ours} | ${point.ratio.toFixed(2)} |`]
  })
}

function factsOf({ name, facts }: Rival): string {
  const { buildSeconds, upsertsPerSecond, singleUpsertsPerSecond, done } = facts
  const { freshetUpsertsPerSecond, freshetSingleUpsertsPerSecond } = facts
  const cells = [
    `${name}${done === true ? '' : ' (cut off)'}`,
    buildSeconds?.toFixed(1) ?? '',
    versus(upsertsPerSecond, freshetUpsertsPerSecond),
    versus(singleUpsertsPerSecond, freshetSingleUpsertsPerSecond),
  ]
  return `| ${cells.join(' | ')} |`
}

const versus = (theirs: number | undefined, ours: number | undefined): string =>
  theirs === undefined ? '' : `${thousands(theirs)} : ${thousands(ours)}`

const thousands = (count: number | undefined): string =>
  count === undefined ? '' : Math.round(count).toLocaleString('en')

const rivals = rivalsIn(folder)
const own = ownIn(folder)
const ownRow = own === undefined ? [] : [`| freshet | ${own.buildSeconds.toFixed(1)} | | |`]
const lines = [
  'Queries a second of one processor, in turns on the same machine; ratio: freshet to the rival.',
  '',
  '| | its setting | recall@10, queries/s | freshet: recall@10, queries/s | ratio |',
  '|---|---|---|---|---|',
  ...rivals.flatMap(rowsOf),
  '',
  '| | build, s | upserts/s of one processor in batches : freshet | one by one |',
  '|---|---|---|---|',
  ...ownRow,
  ...rivals.map(factsOf),
]
process.stdout.write(`${lines.join('\n')}\n`)
