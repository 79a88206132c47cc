/** Time as the rest of the program sees it: handed in, so that a test or a replay can own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Milliseconds from an arbitrary start, never going back; with fractions. For durations. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}

/** A clock that moves when told to. */
export class ManualClock implements Clock {
  #now: number

  constructor(now = 0) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  advance(ms: number): void {
    this.#now += ms
  }
}
