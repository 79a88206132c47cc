/**
 * Items that were deleted, for as long as clicks on them may be on their way: on other partitions,
 * or from pages that people still have open. No such click makes an item known again; only what
 * describes it does, which comes in order with its deletion. So whoever folds both, in whatever
 * turns, ends with the same catalogue.
 *
 * Invariant: in the order in which deletions were folded, each item once.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'

/** By the times at which deletion and click were accepted. */
const windowMs = 7 * 24 * 3_600_000
/** Beyond, the oldest is forgotten. */
const maxItems = 100_000

export class DeletedItems {
  /** When the deletion was accepted, epoch ms. */
  readonly #at = new Map<string, number>()

  get size(): number {
    return this.#at.size
  }

  add(id: string, acceptedAt: number): void {
    this.#at.delete(id)
    this.#at.set(id, acceptedAt)
    for (const [oldest, at] of this.#at) {
      if (this.#at.size <= maxItems && at > acceptedAt - windowMs) break
      this.#at.delete(oldest)
    }
  }

  /** It is described again. */
  drop(id: string): void {
    if (this.#at.size > 0) this.#at.delete(id)
  }

  /** Whether a click that was accepted then is on an item that is gone. */
  has(id: string, acceptedAt: number): boolean {
    const at = this.#at.size === 0 ? undefined : this.#at.get(id)
    return at !== undefined && acceptedAt < at + windowMs
  }

  write(writer: ByteWriter): void {
    writer.varint(this.#at.size)
    for (const [id, at] of this.#at) writer.string(id).float64(at)
  }

  read(reader: ByteReader): void {
    for (let left = reader.varint(); left > 0; left -= 1) {
      this.#at.set(reader.string(), reader.float64())
    }
  }
}
