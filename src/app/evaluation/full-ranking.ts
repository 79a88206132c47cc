/**
 * Where held-out items stand among all candidates: every score is computed, nothing is approximate.
 * Tied candidates share the mean of their ranks, so that a constant model gets what chance would.
 */
import { Arena } from '../../kernels/arena.ts'
import { type KernelImplementation, loadKernels } from '../../kernels/kernels.ts'

/** One query: its vector's row, the place of its item among the candidates, and who is left out. */
export interface Question {
  readonly target: number
  /** Places of candidates that are not ranked; with the target among them the answer is a miss. */
  readonly masked: ReadonlySet<number>
  /** Places ranked against the target; absent: all. */
  readonly among?: readonly number[]
}

export interface Ranking {
  /** One rank per question, counted from 1; Infinity is a miss, NaN: no finite score. */
  readonly ranks: readonly number[]
  /** Share of the candidates that stand among the first ten of anybody's list. */
  readonly coverage: number
}

const queriesAtOnce = 64
const listed = 10

export interface Vectors {
  /** Rows of `dim` floats: one per candidate, `heads` per question, of which the best counts. */
  readonly queries: Float32Array
  readonly candidates: Float32Array
  readonly dim: number
  readonly heads: number
}

export function rankAll(
  { queries, candidates, dim, heads }: Vectors,
  questions: readonly Question[],
  implementation: KernelImplementation,
): Ranking {
  const n = candidates.length / dim
  const rows = queriesAtOnce * heads
  const arena = new Arena(4 * ((rows + n) * dim + rows * n) + (1 << 20))
  const kernels = loadKernels(arena, { implementation })
  const [a, b] = [arena.floats(rows * dim), arena.floats(n * dim)]
  const c = arena.floats(rows * n)
  b.view.set(candidates)
  const ranks: number[] = []
  const covered = new Uint8Array(n)
  for (let from = 0; from < questions.length; from += queriesAtOnce) {
    const asked = questions.slice(from, from + queriesAtOnce)
    a.view.set(queries.subarray(from * heads * dim, (from + asked.length) * heads * dim))
    const m = asked.length * heads
    kernels.matmulTransposedB(c.address, a.address, b.address, m, n, dim, 0, 0, m)
    for (const [i, question] of asked.entries()) {
      const scores = bestOf(c.view.subarray(i * heads * n, (i + 1) * heads * n), n)
      ranks.push(rankOf(scores, question))
      markTop(scores, question, covered)
    }
  }
  return { ranks, coverage: covered.reduce((sum, bit) => sum + bit, 0) / Math.max(1, n) }
}

/** Of lines of n scores the first, each made the largest of all. */
function bestOf(lines: Float32Array, n: number): Float32Array {
  const best = lines.subarray(0, n)
  for (let at = n; at < lines.length; at += 1) {
    if (lines[at] > best[at % n]) best[at % n] = lines[at]
  }
  return best
}

function rankOf(scores: Float32Array, { target, masked, among }: Question): number {
  if (target < 0 || masked.has(target)) return Infinity
  const threshold = scores[target]
  if (!Number.isFinite(threshold)) return NaN
  let [above, equal] = [0, 0]
  const compare = (place: number): void => {
    if (scores[place] > threshold) above += 1
    else if (scores[place] === threshold && place !== target) equal += 1
  }
  if (among !== undefined) {
    for (const place of among) compare(place)
  } else {
    for (let place = 0; place < scores.length; place += 1) if (!masked.has(place)) compare(place)
  }
  return 1 + above + equal / 2
}

/** Marks the first ten candidates that are not masked and have a score; earlier places win ties. */
function markTop(scores: Float32Array, { masked }: Question, covered: Uint8Array): void {
  const top: number[] = []
  let least = -Infinity
  for (let place = 0; place < scores.length; place += 1) {
    if ((top.length === listed && !(scores[place] > least)) || masked.has(place)) continue
    if (Number.isNaN(scores[place])) continue
    let at = top.length
    while (at > 0 && scores[top[at - 1]] < scores[place]) at -= 1
    top.splice(at, 0, place)
    if (top.length > listed) top.pop()
    least = scores[top[top.length - 1]]
  }
  for (const place of top) covered[place] = 1
}
