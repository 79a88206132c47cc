/** Rows and keys as bytes of commands and replies, without copies where there need be none. */
import type { Keys } from '../../base/keys.ts'

const keyBytes = 8

export const bytesOf = (view: ArrayBufferView): Buffer =>
  Buffer.from(view.buffer, view.byteOffset, view.byteLength)

/** Key i of a batch given as bytes. */
export const keyAt = (bytes: Buffer, i: number): Buffer =>
  bytes.subarray(i * keyBytes, (i + 1) * keyBytes)

/** A copy of the keys of n records. */
export function keysOfRecords(records: Buffer, recordBytes: number): Keys {
  const keys = new Uint32Array((records.length / recordBytes) * 2)
  for (let i = 0; 2 * i < keys.length; i += 1) {
    keys[2 * i] = records.readUInt32LE(i * recordBytes)
    keys[2 * i + 1] = records.readUInt32LE(i * recordBytes + 4)
  }
  return keys
}

export function arrayOf(reply: unknown): readonly unknown[] {
  if (Array.isArray(reply)) return reply
  throw new RangeError('a reply that is no array')
}

export function bytesOfReply(reply: unknown): Buffer {
  if (Buffer.isBuffer(reply)) return reply
  throw new RangeError('a reply that is no string')
}

/** An array reply of strings; what is not there is undefined. */
export function textsOf(reply: unknown): readonly (string | undefined)[] {
  return arrayOf(reply).map((value) => (Buffer.isBuffer(value) ? value.toString() : undefined))
}

/** Throws for a value that cannot be the row of this key. */
export function checkRecord(row: Buffer, key: Buffer, recordBytes: number): void {
  if (row.length !== recordBytes) {
    throw new RangeError(`a row of ${row.length} bytes, not ${recordBytes}`)
  }
  if (row.readUInt32LE(0) !== key.readUInt32LE(0) || row.readUInt32LE(4) !== key.readUInt32LE(4)) {
    throw new RangeError('a row under the key of another')
  }
}
