/**
 * Small integers as names: arrays and bitmaps are indexed by them. A retired handle is given out
 * again only after `release`, so that nobody who still holds it for the batch at hand mistakes
 * another for it. Which handle is given next depends on the calls alone and survives `write` and
 * `read`.
 */
import { assert } from '../../base/assert.ts'
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { grown, integers } from '../columns.ts'

export class Handles {
  readonly capacity: number
  #limit = 0
  #free: number[] = []
  #retired: number[] = []

  /** Room for `live` handles and for a margin of retired ones that wait for their release. */
  constructor(live: number) {
    this.capacity = live + Math.max(1024, live >>> 3)
  }

  /** One more than the largest handle ever given out. */
  get limit(): number {
    return this.#limit
  }

  allocate(): number {
    const free = this.#free.pop()
    if (free !== undefined) return free
    assert(this.#limit < this.capacity, 'handles are retired faster than they are released')
    this.#limit += 1
    return this.#limit - 1
  }

  retire(handle: number): void {
    this.#retired.push(handle)
  }

  release(): void {
    for (const handle of this.#retired) this.#free.push(handle)
    this.#retired.length = 0
  }

  write(writer: ByteWriter): void {
    writer.varint(this.#limit)
    writer.array(Int32Array.from(this.#free)).array(Int32Array.from(this.#retired))
  }

  read(reader: ByteReader): void {
    this.#limit = reader.varint()
    this.#free = Array.from(integers(reader))
    this.#retired = Array.from(integers(reader))
    if (this.#limit > this.capacity) throw new RangeError('more handles than there is room for')
  }
}

/**
 * Handles in the order of their last touch, oldest first: a doubly linked list in two arrays.
 * Element 0 is the ends of the list; handle h is element h + 1. An absent handle has next 0 and is
 * not last.
 */
export class TouchOrder {
  #next = new Int32Array(64)
  #previous = new Int32Array(64)

  /** The longest untouched, -1 when there is none. */
  get oldest(): number {
    return this.#next[0] - 1
  }

  /** The one touched before this one, or the newest for -1; -1 when there is none. */
  older(handle: number): number {
    return this.#previous[handle + 1] - 1
  }

  /** At most `limit`, the last touched first; `after`: of those touched before that one. */
  newest(limit: number, after = -1): number[] {
    const found: number[] = []
    for (
      let at = this.#previous[after + 1];
      at !== 0 && found.length < limit;
      at = this.#previous[at]
    ) {
      found.push(at - 1)
    }
    return found
  }

  has(handle: number): boolean {
    const at = handle + 1
    return at < this.#next.length && (this.#next[at] !== 0 || this.#previous[0] === at)
  }

  /** Makes it the newest, whether it was there or not. */
  touch(handle: number): void {
    const at = handle + 1
    if (at >= this.#next.length) {
      this.#next = grown(this.#next, at + 1)
      this.#previous = grown(this.#previous, at + 1)
    }
    const last = this.#previous[0]
    if (last === at) return
    this.remove(handle)
    const end = this.#previous[0]
    this.#next[end] = at
    this.#previous[at] = end
    this.#next[at] = 0
    this.#previous[0] = at
  }

  remove(handle: number): void {
    if (!this.has(handle)) return
    const at = handle + 1
    const next = this.#next[at]
    const previous = this.#previous[at]
    this.#next[previous] = next
    this.#previous[next] = previous
    this.#next[at] = 0
    this.#previous[at] = 0
  }

  write(writer: ByteWriter): void {
    const order = new Int32Array(this.#next.length)
    let size = 0
    for (let at = this.#next[0]; at !== 0; at = this.#next[at]) {
      order[size] = at - 1
      size += 1
    }
    writer.array(order.subarray(0, size))
  }

  read(reader: ByteReader): void {
    for (const handle of integers(reader)) this.touch(handle)
  }
}
