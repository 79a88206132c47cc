/**
 * An index as bytes: what is in it, not how it lies in memory, so that any structure can be built
 * from it. Little-endian:
 *
 *     magic "FIDX" u32 | version u32 | checksum 2 x u32 | dim varint | exactDims varint
 *     | ids: varint bytes, i32 each, ascending
 *     | vectors: varint bytes, f32 each, in the order of ids
 *
 * The checksum is the 64-bit digest of all that follows it.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { digestWords } from '../base/digest.ts'
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
const headerBytes = 16

export function packVectors({ dim, exactDims, ids, vectors }: PackedVectors): Uint8Array {
  const writer = new ByteWriter(headerBytes + 32 + ids.byteLength + vectors.byteLength)
  writer.uint32(magic).uint32(version).uint32(0).uint32(0)
  writer.varint(dim).varint(exactDims).array(ids).array(vectors)
  const [low, high] = digestWords(writer.peek().subarray(headerBytes))
  writer.setUint32(8, low).setUint32(12, high)
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
  const [low, high] = digestWords(bytes.subarray(headerBytes))
  if (reader.uint32() !== low || reader.uint32() !== high) {
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
