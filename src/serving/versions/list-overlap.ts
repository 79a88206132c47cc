/** How alike the lists of two versions are, over the newest comparisons. Pure. */

/** Items of a list that are compared. */
export const comparedItems = 10

const window = 512

/** Items that both lists have, over those of the longer one; two empty ones are alike. */
export function overlapOf(a: readonly string[], b: readonly string[]): number {
  const [left, right] = [a.slice(0, comparedItems), b.slice(0, comparedItems)]
  const longer = Math.max(left.length, right.length)
  if (longer === 0) return 1
  const known = new Set(left)
  return right.filter((id) => known.has(id)).length / longer
}

/** The mean of the newest so many. */
export class ListOverlap {
  readonly #values = new Float64Array(window)
  #count = 0

  add(overlap: number): void {
    this.#values[this.#count % window] = overlap
    this.#count += 1
  }

  /** Undefined: nothing has been compared. */
  get mean(): number | undefined {
    const n = Math.min(this.#count, window)
    return n === 0 ? undefined : this.#values.subarray(0, n).reduce((sum, x) => sum + x, 0) / n
  }

  /** Lists compared since start. */
  get count(): number {
    return this.#count
  }
}
