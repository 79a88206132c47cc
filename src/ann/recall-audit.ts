/**
 * How well a tree answers, asked of itself: recall@10 against exact search for a sample of the
 * queries it was asked, at one effort after another until one holds the target. In steps, so that
 * it goes on between queries.
 */
import { auditedK as k } from './exact-answers.ts'
import type { TreeEffort, TreeSearch } from './tree-search.ts'
import type { Tree } from './tree.ts'

export interface AuditReport {
  /** The least effort on the ladder that holds the target, or the greatest. */
  readonly effort: number
  /** At that effort. */
  readonly recall: number
  readonly queries: number
}

/** Efforts are tried in these steps, so that the choice is within one of the least. */
const efforts = 40
/** Recall that the last steps of the ladder are not worth where the target is out of reach. */
const plateau = 0.01

export interface AuditedTree {
  readonly tree: Tree
  readonly search: TreeSearch
  readonly effortOf: (tree: Tree, k: number, effort: number) => TreeEffort
}

/** What a search costs in vectors that find their leaf: a microsecond each for 400 leaves. */
function costOf({ tree, effortOf }: AuditedTree, effort: number): number {
  const leaves = Math.max(1, tree.leafLimit)
  const points = (tree.items * effortOf(tree, k, effort).leaves) / leaves
  return Math.ceil(((15 + points / 1000) * 400) / leaves)
}

/** Recall of one tree at one effort. */
function* recallOf(
  subject: AuditedTree,
  queries: readonly Float32Array[],
  answers: readonly Int32Array[],
  effort: number,
): Generator<number, number> {
  const { tree, search, effortOf } = subject
  const cost = costOf(subject, effort)
  let [wanted, hits] = [0, 0]
  for (const [i, query] of queries.entries()) {
    const found = search.search(tree, { query, k, effort: effortOf(tree, k, effort) })
    const ids = search.ids.view.subarray(0, found)
    wanted += answers[i].length
    for (const id of answers[i]) if (ids.includes(id)) hits += 1
    yield cost
  }
  return wanted === 0 ? 1 : hits / wanted
}

/**
 * An effort of the ladder at which recall holds the target and two rungs below which it does not,
 * looked for from `from` on: where little has changed that takes three rungs.
 */
export function* leastEffort(
  subject: AuditedTree,
  asked: { readonly queries: readonly Float32Array[]; readonly answers: readonly Int32Array[] },
  { target, from }: { readonly target: number; readonly from: number },
): Generator<number, AuditReport> {
  const { queries, answers } = asked
  const recalls = new Map<number, number>()
  let rung = Math.round(from * efforts)
  let step = 0
  for (;;) {
    const recall = yield* recallOf(subject, queries, answers, rung / efforts)
    recalls.set(rung, recall)
    const isUp = recall < target
    if (step !== 0 && isUp !== step > 0) break
    step = isUp ? Math.max(2, step * 2) : -2
    if (isUp ? rung === efforts : rung === 0) break
    rung = Math.min(efforts, Math.max(0, rung + step))
  }
  // What cannot be reached is not worth trying everything for.
  const goal = Math.min(target, Math.max(...recalls.values()) - plateau)
  const good = [...recalls].filter(([, recall]) => recall >= goal).map(([at]) => at)
  const least = Math.min(...good)
  const recall = recalls.get(least) ?? 0
  return { effort: least / efforts, recall, queries: queries.length }
}
