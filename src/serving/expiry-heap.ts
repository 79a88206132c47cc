/**
 * Which items expire next: a binary heap by time. Entries are never taken back, only found void.
 */

interface Expiry {
  readonly at: number
  readonly handle: number
}

/** Invariant: no entry is later than its children. */
export class ExpiryHeap {
  readonly #entries: Expiry[] = []

  get size(): number {
    return this.#entries.length
  }

  push(at: number, handle: number): void {
    const entries = this.#entries
    let hole = entries.length
    entries.push({ at, handle })
    while (hole > 0) {
      const parent = (hole - 1) >> 1
      if (entries[parent].at <= at) break
      entries[hole] = entries[parent]
      hole = parent
    }
    entries[hole] = { at, handle }
  }

  /** Takes the earliest entry if it is due at `now`. */
  shift(now: number): Expiry | undefined {
    const first = this.#entries[0]
    if (first === undefined || first.at > now) return undefined
    const last = this.#entries.pop()
    if (last !== undefined && this.#entries.length > 0) this.#sink(last)
    return first
  }

  #sink(entry: Expiry): void {
    const entries = this.#entries
    let hole = 0
    for (;;) {
      let child = 2 * hole + 1
      if (child >= entries.length) break
      if (child + 1 < entries.length && entries[child + 1].at < entries[child].at) child += 1
      if (entries[child].at >= entry.at) break
      entries[hole] = entries[child]
      hole = child
    }
    entries[hole] = entry
  }
}
