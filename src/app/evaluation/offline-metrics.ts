/**
 * What the ranks of held-out interactions come to. HR, NDCG and MRR are means over interactions,
 * each ranked for itself; recall, precision and MAP are means over users, whose interactions are
 * one set of relevant items. A rank counts from 1; infinite is a miss, and so is NaN.
 */
const cutoffs = [1, 5, 10, 20, 50, 100] as const

export interface OfflineMetrics {
  readonly [name: string]: number
}

/** One held-out interaction: whose it is and where its item stood in that user's list. */
export interface Ranked {
  readonly userId: string
  readonly rank: number
}

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

const hit = (rank: number, k: number): number => (rank <= k ? 1 : 0)
const gain = (rank: number, k: number): number => (rank <= k ? 1 / Math.log2(rank + 1) : 0)
const reciprocal = (rank: number, k: number): number => (rank <= k ? 1 / rank : 0)

const hitsOf = (ranks: readonly number[], k: number): number =>
  ranks.reduce((sum, rank) => sum + hit(rank, k), 0)

/** Precision at each hit, over the first k places; divided by how many hits there could be. */
function averagePrecision(ranks: readonly number[], k: number): number {
  const hits = ranks.filter((rank) => rank <= k).toSorted((a, b) => a - b)
  const sum = hits.reduce((total, rank, i) => total + (i + 1) / rank, 0)
  return sum / Math.min(ranks.length, k)
}

/** Mean over interactions, by the rank of each. */
const overRanks = {
  hr: hit,
  ndcg: gain,
  mrr: reciprocal,
} satisfies Record<string, (rank: number, k: number) => number>

/** Mean over users, by the ranks of all that is asked for of one. */
const overUsers = {
  recall: (list, k) => hitsOf(list, k) / list.length,
  precision: (list, k) => hitsOf(list, k) / k,
  map: averagePrecision,
} satisfies Record<string, (list: readonly number[], k: number) => number>

const atCutoffs = (name: string, at: (k: number) => number): (readonly [string, number])[] =>
  cutoffs.map((k) => [`${name}${k}`, at(k)])

/**
 * `hr1`, `hr5`, ... `map100`. `coverage`: the share of the catalogue that stands among the first
 * ten of anybody's list.
 */
export function offlineMetrics(ranked: readonly Ranked[], coverage: number): OfflineMetrics {
  const ranks = ranked.map(({ rank }) => rank)
  const users = [...Map.groupBy(ranked, ({ userId }) => userId).values()].map((list) =>
    list.map(({ rank }) => rank),
  )
  return Object.fromEntries([
    ...Object.entries(overRanks).flatMap(([name, measure]) =>
      atCutoffs(name, (k) => mean(ranks.map((rank) => measure(rank, k)))),
    ),
    ...Object.entries(overUsers).flatMap(([name, measure]) =>
      atCutoffs(name, (k) => mean(users.map((list) => measure(list, k)))),
    ),
    ['coverage', coverage],
  ])
}
