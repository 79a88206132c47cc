/**
 * An index as bytes: what is in it, not how it lies in memory, so that any structure can be built from
 * it. Little-endian:
 *
 *     magic "FIDX" u32 | version u32 | checksum u32 | dim varint | exactDims varint
 *     | ids: varint bytes, i32 each, ascending | vectors: varint bytes, f32 each, in the order of ids
 *
 * The checksum is FNV-1a over all that follows it, taken a 32-bit word at a time.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { ServiceError } from '../base/errors.ts'

export interface PackedVectors {
  readonly dim: number
  readonly exactDims: number
  readonly ids: Int32Array
  /** n x dim. */
  readonly vectors: Float32Array
}

const magic = 0x5844_4946
const version = 1
const headerBytes = 12

export function packVectors({ dim, exactDims, ids, vectors }: PackedVectors): Uint8Array {
  const writer = new ByteWriter(headerBytes + 32 + ids.byteLength + vectors.byteLength)
  writer.uint32(magic).uint32(version).uint32(0)
  writer.varint(dim).varint(exactDims).array(ids).array(vectors)
  writer.setUint32(8, checksum(writer.peek().subarray(headerBytes)))
  return writer.finish()
}

/** Throws `INDEX_DAMAGED`. */
export function unpackVectors(
  bytes: Uint8Array,
  expected: { readonly dim: number; readonly exactDims: number },
): PackedVectors {
  try {
    return read(new ByteReader(bytes), bytes, expected)
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new ServiceError('INDEX_DAMAGED', { reason: cause.message }, { cause })
  }
}

function read(
  reader: ByteReader,
  bytes: Uint8Array,
  expected: { readonly dim: number; readonly exactDims: number },
): PackedVectors {
  if (reader.uint32() !== magic) throw new RangeError('it is not an index')
  const found = reader.uint32()
  if (found !== version) throw new RangeError(`version ${found}, ${version} expected`)
  if (reader.uint32() !== checksum(bytes.subarray(headerBytes))) {
    throw new RangeError('the checksum differs')
  }
  const [dim, exactDims] = [reader.varint(), reader.varint()]
  if (dim !== expected.dim || exactDims !== expected.exactDims) {
    const wanted = `${expected.dim} and ${expected.exactDims}`
    throw new RangeError(`${dim} dimensions, ${exactDims} exact; expected ${wanted}`)
  }
  const ids = new Int32Array(reader.array())
  const vectors = new Float32Array(reader.array())
  if (vectors.length !== ids.length * dim) throw new RangeError('ids and vectors differ in number')
  return { dim, exactDims, ids, vectors }
}

function checksum(bytes: Uint8Array): number {
  const words = bytes.length >>> 2
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let hash = 0x811c_9dc5
  for (let i = 0; i < words; i += 1) {
    hash = Math.imul(hash ^ view.getUint32(i * 4, true), 0x0100_0193)
  }
  for (let i = words * 4; i < bytes.length; i += 1) {
    hash = Math.imul(hash ^ bytes[i], 0x0100_0193)
  }
  return hash >>> 0
}
