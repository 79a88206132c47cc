/** Bytes on their way through a file that nobody else sees and that a kill leaves no trace of. */
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs'

import { ServiceError } from '../../base/errors.ts'

const chunkBytes = 1 << 20

export class RowSpool implements Disposable {
  readonly #path: string
  readonly #file: number
  #bytes = 0

  /** Throws `OUTPUT_FAILED`. */
  constructor(path: string) {
    this.#path = path
    this.#file = this.#orFail(() => openSync(path, 'w+'))
    rmSync(path)
  }

  /** Throws `OUTPUT_FAILED`, where the disk is full, say. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      at += this.#orFail(() => writeSync(this.#file, bytes, at))
    }
    this.#bytes += bytes.length
  }

  /** All that was written, in pieces of whole records of so many bytes. */
  *pieces(recordBytes: number): Generator<Uint8Array> {
    const size = Math.max(1, Math.floor(chunkBytes / recordBytes)) * recordBytes
    for (let at = 0; at < this.#bytes; at += size) {
      const piece = new Uint8Array(Math.min(size, this.#bytes - at))
      this.read(at, piece)
      yield piece
    }
  }

  /** Fills `into` from byte `at` on. */
  read(at: number, into: Uint8Array): void {
    for (let end = 0; end < into.length;) {
      end += readSync(this.#file, into, end, into.length - end, at + end)
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
  }

  #orFail<Result>(work: () => Result): Result {
    try {
      return work()
    } catch (cause) {
      const details = { file: this.#path, reason: String(cause) }
      throw new ServiceError('OUTPUT_FAILED', details, { cause })
    }
  }
}
