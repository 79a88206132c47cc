/**
 * Turns short UTF-8 byte strings into strings, giving the same string object again for bytes met
 * lately. Streams repeat themselves: a repeated id is then neither allocated, nor hashed again by
 * the maps that it is looked up in. A direct-mapped cache of fixed size; a collision replaces.
 */
import { fnvPrime } from './fnv.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Longer strings are rarely repeated, and comparing them costs more than it saves. */
const maxLength = 40

export class StringInterner {
  readonly #strings: string[]
  readonly #units = Array.from({ length: maxLength + 1 }, (_, n) => Array<number>(n).fill(0))

  /** `slots`: a power of two. */
  constructor(slots = 1 << 15) {
    this.#strings = Array<string>(slots).fill('')
  }

  /** The string of `bytes[at .. at + length)`. Throws `TypeError` for what is no UTF-8. */
  decode(bytes: Uint8Array, at: number, length: number): string {
    if (length > maxLength) return decoder.decode(bytes.subarray(at, at + length))
    let hash = length
    for (let i = at; i < at + length; i += 1) hash = Math.imul(hash ^ bytes[i], fnvPrime)
    const slot = (hash ^ (hash >>> 15)) & (this.#strings.length - 1)
    const known = this.#strings[slot]
    if (known.length === length && isText(known, bytes, at)) return known
    const decoded =
      this.#ascii(bytes, at, length) ?? decoder.decode(bytes.subarray(at, at + length))
    if (decoded.length === length) this.#strings[slot] = decoded
    return decoded
  }

  /** Through an array kept for the length: the fastest way to a flat string that was measured. */
  #ascii(bytes: Uint8Array, at: number, length: number): string | undefined {
    const units = this.#units[length]
    let bits = 0
    for (let i = 0; i < length; i += 1) {
      bits |= bytes[at + i]
      units[i] = bytes[at + i]
    }
    return bits < 0x80 ? Reflect.apply(String.fromCharCode, undefined, units) : undefined
  }
}

/** Whether text is that of the bytes: text as long as its UTF-8 is ASCII. */
function isText(text: string, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < text.length; i += 1) if (text.charCodeAt(i) !== bytes[at + i]) return false
  return true
}
