/**
 * Writes everything that the trainer has to Redis, for readers that start from nothing or were
 * passed over. The parameters are read as fast as they can be, so that the next delta does not wait
 * for Redis but for memory; chunks go out behind, within a bound of bytes.
 */
import { setImmediate as turn } from 'node:timers/promises'

import { ChainCutter } from '../delta-chunks.ts'
import type { Delta } from '../delta.ts'

export type Pieces = Iterable<Delta> | AsyncIterable<Delta>

interface WrittenSnapshot {
  readonly sequence: number
  readonly chunks: number
}

export interface SnapshotDrawing {
  /** Resolves when all was read; 0: there was nothing. */
  readonly drawn: Promise<number>
  /** Resolves when all was written. */
  readonly written: Promise<WrittenSnapshot>
}

export interface SnapshotWriting {
  readonly chunkBytes: number
  /** Read and not yet written. */
  readonly bufferBytes: number
  /** Resolves when it is in Redis. */
  readonly write: (index: number, chunk: Buffer) => Promise<void>
}

/** Read in one go: others of the thread wait for it. */
const bytesPerTurn = 1 << 22

export function drawSnapshot(pieces: Pieces, writing: SnapshotWriting): SnapshotDrawing {
  const queue = new ChunkQueue(writing)
  const drawn = draw(pieces, new ChainCutter(writing.chunkBytes), queue)
  const written = drawn.then(async (sequence) => {
    await queue.written
    return { sequence, chunks: queue.chunks }
  })
  drawn.catch(() => undefined)
  written.catch(() => undefined)
  return { drawn, written }
}

/** The sequence of the pieces. */
async function draw(pieces: Pieces, cutter: ChainCutter, queue: ChunkQueue): Promise<number> {
  let sequence = 0
  let bytes = 0
  for await (const delta of pieces) {
    sequence = delta.sequence
    for (const chunk of cutter.add(delta)) {
      bytes += chunk.length
      await queue.add(chunk)
    }
    if (bytes < bytesPerTurn) continue
    bytes = 0
    await turn()
  }
  for (const chunk of cutter.end()) await queue.add(chunk)
  return sequence
}

/** Chunks on their way, one after the other. */
class ChunkQueue {
  readonly #writing: SnapshotWriting
  #tail: Promise<void> = Promise.resolve()
  #waiting = 0
  chunks = 0

  constructor(writing: SnapshotWriting) {
    this.#writing = writing
  }

  get written(): Promise<void> {
    return this.#tail
  }

  /** Resolves when there is room for another one. */
  async add(chunk: Buffer): Promise<void> {
    const index = this.chunks
    this.chunks += 1
    this.#waiting += chunk.length
    this.#tail = this.#write(this.#tail, index, chunk)
    this.#tail.catch(() => undefined)
    if (this.#waiting > this.#writing.bufferBytes) await this.#tail
  }

  async #write(before: Promise<void>, index: number, chunk: Buffer): Promise<void> {
    await before
    await this.#writing.write(index, chunk)
    this.#waiting -= chunk.length
  }
}
