/** How far the vectors of an index are behind the model, in model versions. */

export interface VersionSpread {
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Vectors that are behind at all. */
  readonly behind: number
}

/** Percentiles of large indexes are those of so many vectors, evenly taken: sorting all takes long. */
const sampleSize = 4096

/** `ages`: versions that each vector is behind, 0 or more. */
export function versionSpread(ages: readonly number[]): VersionSpread {
  const step = Math.ceil(ages.length / sampleSize)
  const sample = Float64Array.from(ages.filter((_, i) => i % step === 0)).toSorted()
  const at = (q: number): number =>
    sample.length === 0 ? 0 : sample[Math.min(sample.length - 1, Math.floor(q * sample.length))]
  let [max, behind] = [0, 0]
  for (const age of ages) {
    if (age > 0) behind += 1
    if (age > max) max = age
  }
  return { p50: at(0.5), p99: at(0.99), max, behind }
}
