/**
 * Compression of Kafka batches beyond the gzip that kafkajs has built in. zstd is part of Node;
 * snappy and lz4 are native packages, loaded when a batch first asks for one, so that a platform
 * they are not built for can still do without. A batch that cannot be read is never passed over.
 */
import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'

interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>
  decompress(bytes: Buffer): Promise<Buffer>
}

const types = { snappy: 2, lz4: 3, zstd: 4 } as const

export function addKafkaCodecs(codecs: Record<number, () => unknown>): void {
  codecs[types.snappy] = () => snappy
  codecs[types.lz4] = () => lz4
  codecs[types.zstd] = () => zstd
}

const compressZstd = promisify(zstdCompress)
const decompressZstd = promisify(zstdDecompress)

const zstd: Codec = {
  compress: ({ buffer }) => compressZstd(buffer),
  decompress: (bytes) => decompressZstd(bytes),
}

/** The frame format. */
const lz4: Codec = {
  async compress({ buffer }) {
    const { compressFrame } = await import('lz4-napi')
    return compressFrame(buffer)
  },
  async decompress(bytes) {
    const { decompressFrame } = await import('lz4-napi')
    return decompressFrame(bytes)
  },
}

/**
 * Java's producers write the blocks of xerial's stream: a header of 16 bytes, then of each block
 * its length, u32 big-endian, and snappy's own format. Others write a single block without any of
 * it.
 */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const xerialHeader = Buffer.concat([xerialMagic, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])])

const snappy: Codec = {
  async compress({ buffer }) {
    const { compress } = await import('snappy')
    const block = await compress(buffer)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    return Buffer.concat([xerialHeader, length, block])
  },
  async decompress(bytes) {
    const { uncompress } = await import('snappy')
    const blocks: Buffer[] = []
    for (const block of snappyBlocks(bytes)) {
      blocks.push(Buffer.from(await uncompress(block, { asBuffer: true })))
    }
    return Buffer.concat(blocks)
  },
}

function* snappyBlocks(bytes: Buffer): Generator<Buffer> {
  if (!bytes.subarray(0, xerialMagic.length).equals(xerialMagic)) {
    yield bytes
    return
  }
  for (let at = xerialHeader.length; at < bytes.length;) {
    const start = at + 4
    const end = start + bytes.readUInt32BE(at)
    if (end > bytes.length) throw new Error('a snappy block is longer than its batch')
    yield bytes.subarray(start, end)
    at = end
  }
}
