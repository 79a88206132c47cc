/** Reads Prometheus' text format back: just what this service itself writes. */
export class Metrics {
  readonly #values: ReadonlyMap<string, number>

  constructor(values: ReadonlyMap<string, number>) {
    this.#values = values
  }

  /** A sample by its name and labels as written: `freshet_table_size_rows{table="item"}`. */
  get(sample: string): number | undefined {
    return this.#values.get(sample)
  }

  /** Sum over all samples of a name, whatever their labels. */
  sum(name: string): number {
    let total = 0
    for (const [sample, value] of this.#values) {
      if (sample === name || sample.startsWith(`${name}{`)) total += value
    }
    return total
  }

  /** The cumulative buckets of a histogram: upper bounds ascending, and counts up to each. */
  buckets(name: string, label: string): readonly Bucket[] {
    const prefix = `${name}_bucket{${label},le="`
    const buckets: Bucket[] = []
    for (const [sample, count] of this.#values) {
      if (!sample.startsWith(prefix)) continue
      const bound = sample.slice(prefix.length, sample.lastIndexOf('"'))
      buckets.push({ bound: bound === '+Inf' ? Infinity : Number(bound), count })
    }
    return buckets.toSorted((a, b) => a.bound - b.bound)
  }
}

export interface Bucket {
  readonly bound: number
  readonly count: number
}

export function parseMetrics(text: string): Metrics {
  const values = new Map<string, number>()
  for (const line of text.split('\n')) {
    const at = line.lastIndexOf(' ')
    if (line.startsWith('#') || at < 0) continue
    values.set(line.slice(0, at), Number(line.slice(at + 1)))
  }
  return new Metrics(values)
}

/** What was counted since `before`. */
export function bucketsSince(now: readonly Bucket[], before: readonly Bucket[]): readonly Bucket[] {
  const counts = new Map(before.map(({ bound, count }) => [bound, count]))
  return now.map(({ bound, count }) => ({ bound, count: count - (counts.get(bound) ?? 0) }))
}

/**
 * The value that `share` of all do not exceed, interpolated within its bucket; of nothing,
 * undefined. What lies above the last bound counts as that bound.
 */
export function quantile(buckets: readonly Bucket[], share: number): number | undefined {
  const total = buckets.at(-1)?.count ?? 0
  if (total === 0) return undefined
  const wanted = share * total
  let from = 0
  let below = 0
  for (const { bound, count } of buckets) {
    if (count >= wanted) {
      if (bound === Infinity) return from
      return from + ((bound - from) * (wanted - below)) / Math.max(1, count - below)
    }
    from = bound
    below = count
  }
  return from
}

/** The upper bound of the highest bucket that holds anything. */
export function maximum(buckets: readonly Bucket[]): number | undefined {
  const total = buckets.at(-1)?.count ?? 0
  return total === 0 ? undefined : buckets.find(({ count }) => count === total)?.bound
}
