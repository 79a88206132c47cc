/**
 * What the page remembers of the statuses it has seen: rates between two of them, and quantiles of
 * what happened in between.
 */

/** Statuses that charts show: five minutes of one a second. */
const remembered = 300

/** Seconds that quantiles and rates look back. */
const windowSeconds = 10

/**
 * @typedef {{ at: number } & Record<string, any>} Status
 */

export class History {
  /** @type {Status[]} */
  #statuses = []

  /** @param {Status} status */
  add(status) {
    const last = this.#statuses.at(-1)
    // A service that was started again counts from nothing.
    if (last !== undefined && (status.trainer?.events ?? 0) < (last.trainer?.events ?? 0)) {
      this.#statuses = []
    }
    this.#statuses.push(status)
    if (this.#statuses.length > remembered) this.#statuses.shift()
  }

  get all() {
    return this.#statuses
  }

  get last() {
    return this.#statuses.at(-1)
  }

  /**
   * Growth per second of a count, up to the i-th status.
   *
   * @param {number} i
   * @param {(status: Status) => number | undefined} count
   */
  rate(i, count) {
    const [now, before] = this.#pair(i)
    const seconds = (now.at - before.at) / 1000
    const [to, from] = [count(now), count(before)]
    return seconds <= 0 || to === undefined || from === undefined ? null : (to - from) / seconds
  }

  /**
   * Of a stage's freshness, in milliseconds, over the window that ends with the i-th status.
   *
   * @param {number} i
   * @param {string} stage
   * @param {number} q
   */
  quantile(i, stage, q) {
    const [now, before] = this.#pair(i)
    const histogram = now.freshness?.[stage]
    if (histogram === undefined) return null
    /** @type {number[]} */
    const earlier = before.freshness?.[stage]?.counts ?? []
    const counts = histogram.counts.map((/** @type {number} */ count, /** @type {number} */ bin) =>
      now === before ? count : count - (earlier[bin] ?? 0),
    )
    let left = q * counts.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0)
    if (left === 0) return null
    for (const [bin, bound] of histogram.bounds.entries()) {
      left -= counts[bin]
      if (left <= 0) return bound
    }
    return histogram.bounds.at(-1)
  }

  /**
   * @param {number} i
   * @returns {[Status, Status]} The i-th status, and the one a window before.
   */
  #pair(i) {
    const now = this.#statuses[i]
    let at = i
    while (at > 0 && now.at - this.#statuses[at].at < windowSeconds * 1000) at -= 1
    return [now, this.#statuses[at]]
  }
}
