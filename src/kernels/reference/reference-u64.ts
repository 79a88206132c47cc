/**
 * Unsigned 64-bit arithmetic on two 32-bit words, for the twins of kernels that WebAssembly does in
 * one instruction. A `Word64` is changed in place, so that nothing is allocated in a loop.
 */
export class Word64 {
  high = 0
  low = 0

  set(high: number, low: number): this {
    this.high = high >>> 0
    this.low = low >>> 0
    return this
  }

  copy(other: Word64): this {
    this.high = other.high
    this.low = other.low
    return this
  }

  add(other: Word64): this {
    const low = this.low + other.low
    return this.set(this.high + other.high + (low > 0xffff_ffff ? 1 : 0), low)
  }

  subtract(other: Word64): this {
    const borrow = this.low < other.low ? 1 : 0
    return this.set(this.high - other.high - borrow, this.low - other.low)
  }

  multiply(other: Word64): this {
    const cross = Math.imul(this.high, other.low) + Math.imul(this.low, other.high)
    const high = highWord(this.low, other.low)
    return this.set(high + cross, Math.imul(this.low, other.low))
  }

  xor(other: Word64): this {
    return this.set(this.high ^ other.high, this.low ^ other.low)
  }

  rotateLeft(by: number): this {
    const [high, low] = by < 32 ? [this.high, this.low] : [this.low, this.high]
    const bits = by & 31
    if (bits === 0) return this.set(high, low)
    return this.set((high << bits) | (low >>> (32 - bits)), (low << bits) | (high >>> (32 - bits)))
  }

  shiftRight(by: number): this {
    if (by >= 32) return this.set(0, this.high >>> (by - 32))
    if (by === 0) return this
    return this.set(this.high >>> by, (this.low >>> by) | (this.high << (32 - by)))
  }

  /** Negative, 0 or positive, as this is less than, equal to or greater than the other. */
  compare(other: Word64): number {
    return this.high === other.high ? this.low - other.low : this.high - other.high
  }
}

/** The upper 32 bits of a product of two u32: in halves, since a double holds only 53 bits. */
export function highWord(a: number, b: number): number {
  const upper = (a >>> 16) * b
  const lower = (a & 0xffff) * b
  return Math.floor((upper + Math.floor(lower / 65_536)) / 65_536)
}
