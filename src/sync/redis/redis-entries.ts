/**
 * Entries of the stream, and deltas put together from them. Pure: what to do about a gap is the
 * reader's.
 */
import { maxChunks, placeOf } from './redis-names.ts'

export interface StreamEntry {
  readonly epoch: number
  readonly sequence: number
  readonly chunk: number
  readonly chunks: number
  /** Of the delta: the sequence that it builds on. */
  readonly base: number
  readonly bytes: Buffer
}

/** `needed`: lowest sequence of a snapshot with which the stream can be followed again. */
export type Found =
  | { readonly kind: 'delta'; readonly bytes: Buffer }
  | { readonly kind: 'part' }
  | { readonly kind: 'gap'; readonly needed: number }

const part: Found = { kind: 'part' }

/** An entry as the client gives it: its id, and names and values in turn. */
export function entryOf(found: unknown): StreamEntry {
  const [id, fields]: readonly unknown[] = Array.isArray(found) ? found : []
  const values = Array.isArray(fields) ? fields : []
  const [, base, , chunks, , bytes]: readonly unknown[] = values
  return {
    ...placeOf(String(id)),
    base: Number(base),
    chunks: Number(chunks),
    bytes: Buffer.isBuffer(bytes) ? bytes : Buffer.alloc(0),
  }
}

/** Invariant: the chunks at hand are the first of one delta, which builds on the reader's. */
export class DeltaEntries {
  #sequence: number
  #next = 0
  #chunks: Buffer[] = []

  constructor(sequence: number) {
    this.#sequence = sequence
  }

  /** Of the last entry taken. */
  last = { sequence: 0, chunk: 0 }

  standAt(sequence: number): void {
    this.#sequence = sequence
    this.#chunks = []
    // Whatever else there is of that sequence.
    this.last = { sequence, chunk: maxChunks - 1 }
  }

  add(entry: StreamEntry): Found {
    const { sequence, chunk, chunks, base } = entry
    if (sequence <= this.#sequence) return part
    if (chunk === 0) {
      if (base !== this.#sequence && base !== 0) return { kind: 'gap', needed: Math.max(1, base) }
      this.#chunks = []
      this.#next = sequence
    }
    if (sequence !== this.#next || chunk !== this.#chunks.length) {
      return { kind: 'gap', needed: sequence }
    }
    this.last = { sequence, chunk }
    this.#chunks.push(entry.bytes)
    if (this.#chunks.length < chunks) return part
    return { kind: 'delta', bytes: Buffer.concat(this.#chunks) }
  }
}
