/**
 * How far scores move while vectors wait to be embedded again: mean and deviation, by how many
 * versions a vector is behind (powers of two), and apart for those whose own rows have changed.
 * Learned from what is embedded; drifts are per unit of the query's length.
 */

/** Ages are below two to this power. */
const ages = 32
/** As few as say something. */
const fewest = 64
/** The newest counts for one in so many, once there have been as many. */
const memory = 128
/** Above the mean, that a drift hardly ever goes beyond: many, as what is pulled up has no bell. */
const deviations = 6

export class ScoreDrift {
  readonly #counts = new Uint32Array(2 * ages)
  readonly #means = new Float64Array(2 * ages)
  readonly #squares = new Float64Array(2 * ages)

  /** `age`: versions, at least 0. */
  note(age: number, isMoved: boolean, drift: number): void {
    const at = placeOf(age, isMoved)
    const count = Math.min(memory, this.#counts[at] + 1)
    this.#counts[at] = count
    this.#means[at] += (drift - this.#means[at]) / count
    this.#squares[at] += (drift * drift - this.#squares[at]) / count
  }

  /** What a score may have risen by; Infinity: nobody knows. */
  most(age: number, isMoved: boolean): number {
    const at = placeOf(age, isMoved)
    if (this.#counts[at] < fewest) return Infinity
    const mean = this.#means[at]
    const deviation = Math.sqrt(Math.max(0, this.#squares[at] - mean * mean))
    return Math.max(0, mean + deviations * deviation)
  }
}

const placeOf = (age: number, isMoved: boolean): number =>
  Math.min(ages - 1, 32 - Math.clz32(age)) + (isMoved ? ages : 0)
