/** Typed arrays indexed by handle that grow by doubling, and their way back from bytes. */
import type { ByteReader } from '../base/bytes.ts'

type Column = Int32Array | Uint32Array | Float64Array | Uint8Array

/** The column itself when it holds `length` elements, else a copy of at least twice its size. */
export function grown<Array extends Column>(column: Array, length: number): Array
export function grown(column: Column, length: number): Column {
  if (column.length >= length) return column
  const size = Math.max(length, column.length * 2)
  if (column instanceof Float64Array) return copied(column, new Float64Array(size))
  if (column instanceof Int32Array) return copied(column, new Int32Array(size))
  if (column instanceof Uint32Array) return copied(column, new Uint32Array(size))
  return copied(column, new Uint8Array(size))
}

function copied<Array extends Column>(from: Array, to: Array): Array {
  to.set(from)
  return to
}

export const doubles = (reader: ByteReader): Float64Array<ArrayBuffer> =>
  new Float64Array(reader.array())
export const integers = (reader: ByteReader): Int32Array<ArrayBuffer> =>
  new Int32Array(reader.array())
export const unsigned = (reader: ByteReader): Uint32Array<ArrayBuffer> =>
  new Uint32Array(reader.array())
