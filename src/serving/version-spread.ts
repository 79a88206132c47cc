/** How far the vectors of an index are behind the model, in model versions. */

export interface VersionSpread {
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Vectors that are behind at all. */
  readonly behind: number
}

/**
 * Percentiles of large indexes are those of so many vectors, evenly taken: sorting all takes long.
 */
const sampleSize = 4096

/** `ageOf` a handle below `handles`: versions that its vector is behind; -1: it has none. */
export function versionSpread(handles: number, ageOf: (handle: number) => number): VersionSpread {
  const step = Math.ceil(handles / sampleSize)
  const sample: number[] = []
  let [vectors, max, behind] = [0, 0, 0]
  for (let handle = 0; handle < handles; handle += 1) {
    const age = ageOf(handle)
    if (age < 0) continue
    if (age > 0) behind += 1
    if (age > max) max = age
    if (vectors % step === 0) sample.push(age)
    vectors += 1
  }
  sample.sort((a, b) => a - b)
  const at = (q: number): number =>
    sample[Math.min(sample.length - 1, Math.floor(q * sample.length))] ?? 0
  return { p50: at(0.5), p99: at(0.99), max, behind }
}
