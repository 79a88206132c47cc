/**
 * Byte codecs for what goes to disk and over a port: little-endian, strings as a varint length and
 * UTF-8. A reader never reads past its end: it throws a `RangeError`, which the owner of the format
 * turns into its own error.
 */
import type { StringInterner } from './interner.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Grows as it is written; `finish` returns what was written, `reset` starts again. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>
  #view: DataView
  #length = 0

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
  }

  get length(): number {
    return this.#length
  }

  reset(): this {
    this.#length = 0
    return this
  }

  /** Takes back everything written from `length` on. */
  truncate(length: number): this {
    this.#length = Math.min(this.#length, length)
    return this
  }

  /** A copy of what was written. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length)
  }

  /** What was written, without a copy: valid until the next write. */
  peek(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length)
  }

  uint8(value: number): this {
    const at = this.#grow(1)
    this.#bytes[at] = value
    return this
  }

  uint32(value: number): this {
    const at = this.#grow(4)
    this.#view.setUint32(at, value, true)
    return this
  }

  /** Overwrites four bytes written before: for lengths and checksums known only later. */
  setUint32(at: number, value: number): this {
    this.#view.setUint32(at, value, true)
    return this
  }

  float32(value: number): this {
    const at = this.#grow(4)
    this.#view.setFloat32(at, value, true)
    return this
  }

  float64(value: number): this {
    const at = this.#grow(8)
    this.#view.setFloat64(at, value, true)
    return this
  }

  /** A non-negative integer below 2^53, seven bits a byte, low bits first. */
  varint(value: number): this {
    let rest = value
    while (rest >= 0x80) {
      this.uint8((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    return this.uint8(rest)
  }

  string(value: string): this {
    // Most strings are short ids of ASCII: a loop is faster there than the encoder.
    if (value.length < 0x80) {
      const at = this.#grow(1 + value.length)
      if (this.#ascii(value, at + 1)) {
        this.#bytes[at] = value.length
        return this
      }
      this.#length = at
    }
    const bytes = encoder.encode(value)
    return this.varint(bytes.length).bytes(bytes)
  }

  #ascii(value: string, at: number): boolean {
    for (let i = 0; i < value.length; i += 1) {
      const unit = value.charCodeAt(i)
      if (unit >= 0x80) return false
      this.#bytes[at + i] = unit
    }
    return true
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length)
    this.#bytes.set(value, at)
    return this
  }

  /** The elements of a typed array as they lie in memory (little-endian machines only, as ours). */
  array(value: ArrayBufferView): this {
    return this.varint(value.byteLength).bytes(
      new Uint8Array(value.buffer, value.byteOffset, value.byteLength),
    )
  }

  /** As `array`, of the first elements of one of words: faster where they are few. */
  words(value: Int32Array | Uint32Array | Float32Array, length: number): this {
    this.varint(4 * length)
    const at = this.#grow(4 * length)
    const isFloat = value instanceof Float32Array
    for (let i = 0; i < length; i += 1) {
      if (isFloat) this.#view.setFloat32(at + 4 * i, value[i], true)
      else this.#view.setUint32(at + 4 * i, value[i], true)
    }
    return this
  }

  #grow(by: number): number {
    const at = this.#length
    this.#length += by
    if (this.#length > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
      bytes.set(this.#bytes)
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer)
    }
    return at
  }
}

/** Reads what a `ByteWriter` wrote, in the same order. */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #strings: StringInterner | undefined
  #at = 0

  /** `strings`: where many short strings repeat, the interner that decodes them. */
  constructor(bytes: Uint8Array, strings?: StringInterner) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#strings = strings
  }

  get position(): number {
    return this.#at
  }

  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  /** What was read since `position`, without a copy. */
  since(position: number): Uint8Array {
    return this.#bytes.subarray(position, this.#at)
  }

  uint8(): number {
    return this.#bytes[this.#take(1)]
  }

  uint32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  float32(): number {
    return this.#view.getFloat32(this.#take(4), true)
  }

  float64(): number {
    return this.#view.getFloat64(this.#take(8), true)
  }

  varint(): number {
    const first = this.uint8()
    if (first < 0x80) return first
    this.#at -= 1
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.uint8()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) break
      scale *= 0x80
      if (scale > 2 ** 49) throw new RangeError('varint is too long')
    }
    if (!Number.isSafeInteger(value)) throw new RangeError('varint is too large')
    return value
  }

  string(): string {
    const length = this.varint()
    const at = this.#take(length)
    if (this.#strings !== undefined) return this.#strings.decode(this.#bytes, at, length)
    return decoder.decode(this.#bytes.subarray(at, at + length))
  }

  /** A copy of the next `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#take(length)
    // `slice` of a Buffer would be a view.
    return new Uint8Array(this.#bytes.subarray(at, at + length))
  }

  /** The bytes of an `array()`, copied, so aligned for any view. */
  array(): ArrayBuffer {
    return this.bytes(this.varint()).buffer
  }

  #take(length: number): number {
    const at = this.#at
    if (at + length > this.#bytes.length) {
      throw new RangeError(`${length} bytes wanted at ${at}, ${this.remaining} left`)
    }
    this.#at += length
    return at
  }
}
