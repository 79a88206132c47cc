/**
 * How well a tree answers, asked of itself: recall@10 against exact search for a sample of the
 * queries it was asked, at one effort after another until one holds the target. In steps, so that
 * it goes on between queries.
 */
import { type Answers, auditedK as k } from './background.ts'
import { queriesPerScan } from './flat-memory.ts'
import { ranksOf } from './ranks.ts'
import type { TreeEffort, TreeSearch } from './tree-search.ts'
import type { Tree } from './tree.ts'

export interface AuditReport {
  /** The least effort tried that holds the target; where none does, one that is nearly the best. */
  readonly effort: number
  /** At that effort. */
  readonly recall: number
  readonly queries: number
}

/** Rungs of the ladder of efforts. */
const efforts = 40
/** Between the rungs that are tried together. */
const rungStep = 2
/** Recall that the last steps of the ladder are not worth where the target is out of reach. */
const plateau = 0.01

export interface AuditedTree {
  readonly tree: Tree
  /** Nobody else's until the audit is over. */
  readonly search: TreeSearch
  readonly effortOf: (tree: Tree, k: number, effort: number) => TreeEffort
  /** By the vectors as they are now. */
  readonly scoresOf: (query: Float32Array, ids: Int32Array) => Float32Array
}

/** Gets exact answers to a few queries, as things are now. */
type AnswersOf = (queries: readonly Float32Array[]) => Generator<number, Answers>

/**
 * The least of the efforts worth trying at which recall holds the target, looked for from `from`
 * on: on three rungs at a time, until the target is between two of them.
 */
export function* leastEffort(
  subject: AuditedTree,
  asked: { readonly queries: readonly Float32Array[]; readonly answersOf: AnswersOf },
  { target, from }: { readonly target: number; readonly from: number },
): Generator<number, AuditReport> {
  const recalls = new Map<number, number>()
  const lowestRung = Math.ceil(cheapEffort(subject.tree) * efforts)
  const rungsAround = (rung: number): readonly number[] => [
    ...new Set([rung - rungStep, rung, rung + rungStep].map(onLadder(lowestRung))),
  ]
  let rung = Math.round(from * efforts)
  for (;;) {
    const rungs = rungsAround(rung)
    for (const [at, recall] of yield* recallsOf(subject, asked, rungs)) recalls.set(at, recall)
    const [lowest, highest] = [rungs[0], rungs[rungs.length - 1]]
    if ((recalls.get(highest) ?? 1) < target) rung = highest + 2 * rungStep
    else if ((recalls.get(lowest) ?? 0) >= target) rung = lowest - 2 * rungStep
    else break
    if (rungsAround(rung).every((at) => recalls.has(at))) break
  }
  // What cannot be reached is not worth trying everything for.
  const goal = Math.min(target, Math.max(...recalls.values()) - plateau)
  const good = [...recalls].filter(([, recall]) => recall >= goal).map(([at]) => at)
  const least = Math.min(...good)
  const recall = recalls.get(least) ?? 0
  return { effort: least / efforts, recall, queries: asked.queries.length }
}

/**
 * The effort at which twice as many members are scanned as there are leaves. To choose leaves takes
 * about half as long, so below it hardly any time is saved, and recall is lost as soon as vectors
 * move on.
 */
function cheapEffort({ leafLimit, items }: Tree): number {
  const leaves = (2 * leafLimit ** 2) / Math.max(1, items)
  return leaves <= 1 ? 0 : Math.min(1, Math.log(leaves) / Math.log(leafLimit))
}

const onLadder =
  (lowest: number) =>
  (rung: number): number =>
    Math.min(efforts, Math.max(lowest, rung))

/**
 * Recall of one tree at some efforts. A few queries at a time, so that vectors that change all the
 * time have hardly changed since the exact answers were found.
 */
function* recallsOf(
  subject: AuditedTree,
  { queries, answersOf }: { readonly queries: readonly Float32Array[]; answersOf: AnswersOf },
  rungs: readonly number[],
): Generator<number, ReadonlyMap<number, number>> {
  const hits = new Map(rungs.map((rung) => [rung, 0]))
  let wanted = 0
  for (let from = 0; from < queries.length; from += queriesPerScan) {
    const group = queries.slice(from, from + queriesPerScan)
    const answers = yield* answersOf(group)
    wanted += answers.reduce((sum, { length }) => sum + Math.min(k, length), 0)
    for (const [i, query] of group.entries()) {
      for (const rung of rungs) {
        const found = yield* hitsOf(subject, query, answers[i], rung / efforts)
        hits.set(rung, (hits.get(rung) ?? 0) + found)
      }
    }
  }
  return new Map([...hits].map(([rung, hit]) => [rung, wanted === 0 ? 1 : hit / wanted]))
}

/**
 * Of the best k, how many the tree found. While vectors change all the time, what was best when it
 * was looked for need not be so any more: the best are those of both that score best now.
 */
function* hitsOf(
  { tree, search, effortOf, scoresOf }: AuditedTree,
  query: Float32Array,
  answer: Int32Array,
  effort: number,
): Generator<number, number> {
  const count = yield* search.inSteps(tree, { query, k, effort: effortOf(tree, k, effort) })
  const found = new Set(search.ids.view.subarray(0, count))
  const either = Int32Array.from(found.union(new Set(answer)))
  const ranks = ranksOf(either, scoresOf(query, either))
  const best = ranks.subarray(0, Math.min(k, answer.length))
  return best.reduce((hits, place) => hits + Number(found.has(either[place])), 0)
}
