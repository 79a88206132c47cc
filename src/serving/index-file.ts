/**
 * The live index as a file, written by its second thread and read at start: `docs/formats.md`. A
 * sequence of chunks, each with its own checksum, the last of which says how many items there were.
 * It is written under another name, made durable and renamed, so a file by its own name is whole.
 */
import { closeSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'

import { ServiceError } from '../base/errors.ts'

const magic = 0x584c_4946
const version = 2
const headerBytes = 24
const mostBytes = 1 << 30

export const chunkKind = { head: 1, tree: 2, items: 3, stale: 4, end: 5 } as const

/** Arrays come in the order of the size of their elements, largest first, so that all align. */
export type ChunkArray = Float64Array | Float32Array | Int32Array | Uint32Array

const bytesOf = ({ buffer, byteOffset, byteLength }: ChunkArray): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

export class IndexFileWriter {
  readonly #path: string
  readonly #file: number

  constructor(path: string) {
    this.#path = path
    this.#file = openSync(`${path}.tmp`, 'w')
  }

  chunk(kind: number, count: number, arrays: readonly ChunkArray[]): void {
    const size = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0)
    const bytes = new Uint8Array(headerBytes + size)
    const header = new DataView(bytes.buffer)
    let at = headerBytes
    for (const array of arrays) {
      bytes.set(bytesOf(array), at)
      at += array.byteLength
    }
    for (const [i, word] of [magic, version, kind, count, size].entries()) {
      header.setUint32(i * 4, word, true)
    }
    header.setUint32(20, crc32(bytes.subarray(headerBytes), crc32(bytes.subarray(0, 20))), true)
    for (let from = 0; from < bytes.length;) from += writeSync(this.#file, bytes, from)
  }

  /** Makes it durable and gives it its name. */
  finish(): void {
    fsyncSync(this.#file)
    closeSync(this.#file)
    renameSync(`${this.#path}.tmp`, this.#path)
    const directory = openSync(dirname(this.#path), 'r')
    fsyncSync(directory)
    closeSync(directory)
  }

  abandon(): void {
    closeSync(this.#file)
    rmSync(`${this.#path}.tmp`, { force: true })
  }
}

export interface Chunk {
  readonly kind: number
  readonly count: number
  readonly bytes: ArrayBuffer
}

/** Every chunk but the end. Throws `INDEX_DAMAGED`, also for a file that has no end. */
export function* readChunks(path: string): Generator<Chunk> {
  const file = openSync(path, 'r')
  try {
    for (;;) {
      const chunk = readChunk(file)
      if (chunk.kind === chunkKind.end) return
      yield chunk
    }
  } finally {
    closeSync(file)
  }
}

function readChunk(file: number): Chunk {
  const header = new Uint8Array(headerBytes)
  readWhole(file, header)
  const words = new DataView(header.buffer)
  const [found, form, kind, count, size] = [0, 4, 8, 12, 16].map((at) => words.getUint32(at, true))
  if (found !== magic) throw damaged('it is not an index, or not from here on')
  if (form !== version) throw damaged(`version ${form}, ${version} expected`)
  if (size > mostBytes) throw damaged(`a chunk of ${size} bytes`)
  const bytes = new Uint8Array(size)
  readWhole(file, bytes)
  const sum = crc32(bytes, crc32(header.subarray(0, 20)))
  if (sum !== words.getUint32(20, true)) throw damaged('a checksum differs')
  return { kind, count, bytes: bytes.buffer }
}

function readWhole(file: number, into: Uint8Array): void {
  for (let at = 0; at < into.length;) {
    const read = readSync(file, into, at, into.length - at, null)
    if (read === 0) throw damaged('it ends too early')
    at += read
  }
}

export const damaged = (reason: string): ServiceError =>
  new ServiceError('INDEX_DAMAGED', { reason })
