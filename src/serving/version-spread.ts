/** How far the vectors of an index are behind the model, in model versions. */

export interface VersionSpread {
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Vectors that are behind at all: of a large index about so many. */
  readonly behind: number
}

/** Half a millisecond's worth: of more handles an even sample speaks for all. */
const sampleSize = 32_768

/** `ageOf` a handle below `handles`: versions that its vector is behind; -1: it has none. */
export function versionSpread(handles: number, ageOf: (handle: number) => number): VersionSpread {
  const step = Math.max(1, Math.ceil(handles / sampleSize))
  const ages: number[] = []
  let behind = 0
  for (let handle = 0; handle < handles; handle += step) {
    const age = ageOf(handle)
    if (age < 0) continue
    ages.push(age)
    if (age > 0) behind += step
  }
  const sorted = Float64Array.from(ages).toSorted()
  const at = (q: number): number => sorted[Math.min(ages.length - 1, Math.floor(q * ages.length))]
  if (ages.length === 0) return { p50: 0, p99: 0, max: 0, behind }
  return { p50: at(0.5), p99: at(0.99), max: at(1), behind }
}
