/**
 * Which deltas the stream keeps: those that a reader has not confirmed yet or that follow the
 * newest snapshot, within bounds of number and bytes, and always the newest. A reader that is
 * passed over finds a delta that builds on one that it does not have.
 */
interface KeptDelta {
  readonly sequence: number
  readonly bytes: number
}

export interface RetentionBounds {
  readonly maxDeltas: number
  readonly maxBytes: number
}

export class Retention {
  readonly #bounds: RetentionBounds
  /** Oldest first, consecutive in the stream. */
  readonly #kept: KeptDelta[] = []
  #bytes = 0

  constructor(bounds: RetentionBounds) {
    this.#bounds = bounds
  }

  get deltas(): number {
    return this.#kept.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Sequence of the oldest delta that is kept; `next` where none is. */
  oldest(next: number): number {
    return this.#kept[0]?.sequence ?? next
  }

  /** Before the delta is written: makes room for it. */
  add(sequence: number, bytes: number): void {
    const { maxDeltas, maxBytes } = this.#bounds
    this.#kept.push({ sequence, bytes })
    this.#bytes += bytes
    while (this.#kept.length > maxDeltas || this.#bytes > maxBytes) {
      if (this.#kept.length === 1) return
      this.#drop()
    }
  }

  /** Everybody has what lies at or before this sequence. */
  release(sequence: number): void {
    while (this.#kept.length > 1 && this.#kept[0].sequence <= sequence) this.#drop()
  }

  #drop(): void {
    this.#bytes -= this.#kept.shift()?.bytes ?? 0
  }
}
