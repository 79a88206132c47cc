/**
 * A delta as bytes, for any carrier. Little-endian:
 *
 *     magic "FRDL" u32 | version u32 | crc32 of the rest u32
 *     | sequence, base, modelVersion varint | publishedAt f64
 *     | acceptedAt f64 | partitions varint, each: partition varint, offset string
 *     | tables varint, each: name string, dim varint, keys, vectors, removed: arrays
 *     | has weights u8, weights array
 *
 * An array is its bytes, preceded by their number as a varint.
 */
import { crc32 } from 'node:zlib'

import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { ServiceError } from '../base/errors.ts'
import type { Delta, TableDelta, Watermark } from './delta.ts'

const magic = 0x4c44_5246
const version = 1
const headerBytes = 12

export function encodeDelta(delta: Delta): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(sizeOf(delta))
  writer.uint32(magic).uint32(version).uint32(0)
  writer.varint(delta.sequence).varint(delta.base).varint(delta.modelVersion)
  writer.float64(delta.publishedAt)
  writeWatermark(writer, delta.watermark)
  writer.varint(delta.tables.length)
  for (const table of delta.tables) {
    writer.string(table.table).varint(table.dim)
    writer.array(table.keys).array(table.vectors).array(table.removed)
  }
  writer.uint8(delta.weights === undefined ? 0 : 1)
  if (delta.weights !== undefined) writer.array(delta.weights)
  writer.setUint32(8, crc32(writer.peek().subarray(headerBytes)))
  return writer.finish()
}

/** Throws `SYNC_DELTA_DAMAGED`. */
export function decodeDelta(bytes: Uint8Array): Delta {
  try {
    return read(bytes)
  } catch (cause) {
    // RangeError: an array of half an element; TypeError: a string that is not UTF-8.
    if (!(cause instanceof RangeError || cause instanceof TypeError)) throw cause
    throw new ServiceError('SYNC_DELTA_DAMAGED', { reason: cause.message }, { cause })
  }
}

function read(bytes: Uint8Array): Delta {
  const reader = new ByteReader(bytes)
  if (reader.uint32() !== magic) throw new RangeError('it is not a delta')
  const found = reader.uint32()
  if (found !== version) throw new RangeError(`version ${found}, ${version} expected`)
  if (reader.uint32() !== crc32(bytes.subarray(headerBytes))) {
    throw new RangeError('the checksum differs')
  }
  const [sequence, base, modelVersion] = [reader.varint(), reader.varint(), reader.varint()]
  const publishedAt = reader.float64()
  const watermark = readWatermark(reader)
  const tables = Array.from({ length: reader.varint() }, () => readTable(reader))
  const weights = reader.uint8() === 1 ? { weights: new Float32Array(reader.array()) } : {}
  return { sequence, base, modelVersion, publishedAt, watermark, tables, ...weights }
}

function readTable(reader: ByteReader): TableDelta {
  const [table, dim] = [reader.string(), reader.varint()]
  const keys = new Uint32Array(reader.array())
  const vectors = new Float32Array(reader.array())
  const removed = new Uint32Array(reader.array())
  if (vectors.length * 2 !== keys.length * dim) throw new RangeError(`${table}: keys and vectors`)
  return { table, dim, keys, vectors, removed }
}

function writeWatermark(writer: ByteWriter, { acceptedAt, offsets }: Watermark): void {
  const partitions = Object.entries(offsets)
  writer.float64(acceptedAt).varint(partitions.length)
  for (const [partition, offset] of partitions) writer.varint(Number(partition)).string(offset)
}

function readWatermark(reader: ByteReader): Watermark {
  const acceptedAt = reader.float64()
  const partitions = Array.from({ length: reader.varint() }, () => [
    reader.varint(),
    reader.string(),
  ])
  return { acceptedAt, offsets: Object.fromEntries(partitions) }
}

/** Enough, so that the writer does not grow. */
function sizeOf({ tables, weights }: Delta): number {
  let bytes = 256 + (weights?.byteLength ?? 0)
  for (const { table, keys, vectors, removed } of tables) {
    bytes += 64 + 3 * table.length + keys.byteLength + vectors.byteLength + removed.byteLength
  }
  return bytes
}
