/** Twin of `assembly/cuckoo.ts`: the same keys end in the same slots. */
import type { Address, Flag } from '../operands.ts'
import type { CuckooKernels } from '../table-kernels.ts'
import { absentPayload } from '../table-kernels.ts'
import { highWord } from './reference-u64.ts'

/** A bucket in words: keys (low, high) from 0, payloads + 1 from 8, then nothing. */
const bucketWords = 16
const payloadsAt = 8
const queueLength = 4096

export function referenceCuckooKernels(memory: WebAssembly.Memory): CuckooKernels {
  const words = new Uint32Array(memory.buffer)
  return {
    cuckooFind: (...[buckets, count, keys, n, payloads]) => {
      const index = new CuckooIndex(words, buckets, count)
      return each(words, { keys, n, payloads }, (low, high) => index.find(low, high))
    },
    cuckooErase: (...[buckets, count, keys, n, payloads]) => {
      const index = new CuckooIndex(words, buckets, count)
      return each(words, { keys, n, payloads }, (low, high) => index.remove(low, high))
    },
    cuckooInsert: (...[buckets, count, keys, n, payloads, ...limits]) => {
      const index = new CuckooIndex(words, buckets, count)
      return insertAll(words, index, { keys, n, payloads }, limits)
    },
  }
}

interface Batch {
  readonly keys: Address
  readonly n: number
  readonly payloads: Address
}

/** Writes what `payloadOf` gives for each key; returns how many have a payload. */
function each(
  words: Uint32Array,
  { keys, n, payloads }: Batch,
  payloadOf: (low: number, high: number) => number,
): number {
  let found = 0
  for (let i = 0; i < n; i += 1) {
    const payload = payloadOf(words[(keys >>> 2) + 2 * i], words[(keys >>> 2) + 2 * i + 1])
    words[(payloads >>> 2) + i] = payload
    if (payload !== absentPayload) found += 1
  }
  return found
}

function insertAll(
  words: Uint32Array,
  index: CuckooIndex,
  { keys, n, payloads }: Batch,
  [room, overwrite]: [number, Flag],
): number {
  let inserted = 0
  for (let i = 0; i < n; i += 1) {
    const low = words[(keys >>> 2) + 2 * i]
    const high = words[(keys >>> 2) + 2 * i + 1]
    const at = (payloads >>> 2) + i
    const slot = index.slotOf(low, high)
    if (slot >= 0 && overwrite) words[slot] = words[at] + 1
    else if (slot >= 0) words[at] = words[slot] - 1
    else if (inserted < room && index.place(low, high, words[at]) > 0) inserted += 1
    else words[at] = absentPayload
  }
  return inserted
}

/** The final mix of MurmurHash3. */
export function mix(x: number): number {
  let hash = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

export const firstHash = (low: number, high: number): number =>
  mix(low ^ Math.imul(high, 0x9e3779b1))

const secondHash = (low: number, high: number): number =>
  mix(high ^ (Math.imul(low, 0x85ebca77) + 0x27d4eb2f))

/** An index in memory: buckets from a byte address on. Slots are named by their payload's word. */
export class CuckooIndex {
  readonly #words: Uint32Array
  readonly #start: number
  readonly #count: number

  constructor(words: Uint32Array, buckets: Address, count: number) {
    this.#words = words
    this.#start = buckets >>> 2
    this.#count = count
  }

  find(low: number, high: number): number {
    const slot = this.slotOf(low, high)
    return slot < 0 ? absentPayload : this.#words[slot] - 1
  }

  /** The word of the key's payload, or -1. */
  slotOf(low: number, high: number): number {
    if (low === 0 && high === 0) return -1
    const first = this.#first(low, high)
    const slot = this.#match(first, low, high)
    if (slot >= 0) return this.#payload(first, slot)
    const second = this.#second(low, high, first)
    const other = this.#match(second, low, high)
    return other < 0 ? -1 : this.#payload(second, other)
  }

  remove(low: number, high: number): number {
    const slot = this.slotOf(low, high)
    if (slot < 0) return absentPayload
    const payload = this.#words[slot] - 1
    this.#words[slot] = 0
    const offset = (slot - this.#start) % bucketWords
    const key = slot - offset + 2 * (offset - payloadsAt)
    this.#words[key] = 0
    this.#words[key + 1] = 0
    return payload
  }

  /**
   * Puts a key that is not there into the emptier of its buckets, or makes room. Returns 0: there
   * is none, or one more than the keys that moved.
   */
  place(low: number, high: number, payload: number): number {
    if (low === 0 && high === 0) return 0
    const first = this.#first(low, high)
    const second = this.#second(low, high, first)
    const free = this.#match(first, 0, 0)
    const other = this.#match(second, 0, 0)
    if (free < 0 && other < 0) return this.#makeRoom([first, second], [low, high, payload + 1])
    if (this.#room(first) >= this.#room(second)) this.#put(first, free, [low, high, payload + 1])
    else this.#put(second, other, [low, high, payload + 1])
    return 1
  }

  #first(low: number, high: number): number {
    return highWord(firstHash(low, high), this.#count)
  }

  #second(low: number, high: number, first: number): number {
    const bucket = highWord(secondHash(low, high), this.#count)
    return bucket === first ? (first + 1) % this.#count : bucket
  }

  #key(bucket: number, slot: number): number {
    return this.#start + bucket * bucketWords + 2 * slot
  }

  #payload(bucket: number, slot: number): number {
    return this.#start + bucket * bucketWords + payloadsAt + slot
  }

  /** The first slot of the bucket that holds the key, or -1; the key 0 finds a free one. */
  #match(bucket: number, low: number, high: number): number {
    for (let slot = 0; slot < 4; slot += 1) {
      const key = this.#key(bucket, slot)
      if (this.#words[key] === low && this.#words[key + 1] === high) return slot
    }
    return -1
  }

  #room(bucket: number): number {
    let free = 0
    for (let slot = 0; slot < 4; slot += 1) {
      const key = this.#key(bucket, slot)
      if (this.#words[key] === 0 && this.#words[key + 1] === 0) free += 1
    }
    return free
  }

  #put(bucket: number, slot: number, [low, high, stored]: Entry): void {
    const key = this.#key(bucket, slot)
    this.#words[key] = low
    this.#words[key + 1] = high
    this.#words[this.#payload(bucket, slot)] = stored
  }

  #entry(bucket: number, slot: number): Entry {
    const key = this.#key(bucket, slot)
    return [this.#words[key], this.#words[key + 1], this.#words[this.#payload(bucket, slot)]]
  }

  /** Breadth-first search for a bucket with a free slot. */
  #makeRoom(roots: readonly [number, number], entry: Entry): number {
    const queue: Node[] = roots.map((bucket) => ({ bucket, from: -1, slot: -1 }))
    for (let node = 0; node < queue.length; node += 1) {
      for (let slot = 0; slot < 4 && queue.length < queueLength; slot += 1) {
        const bucket = this.#otherBucket(queue[node].bucket, slot)
        queue.push({ bucket, from: node, slot })
        const free = this.#match(bucket, 0, 0)
        if (free < 0) continue
        return 1 + this.#shift(queue, free, entry)
      }
    }
    return 0
  }

  #otherBucket(bucket: number, slot: number): number {
    const [low, high] = this.#entry(bucket, slot)
    const first = this.#first(low, high)
    return first === bucket ? this.#second(low, high, first) : first
  }

  /**
   * Moves every key of the path one step on, last first, and puts the new key in front. Returns how
   * many moved.
   */
  #shift(queue: readonly Node[], freeSlot: number, entry: Entry): number {
    let node = queue[queue.length - 1]
    let free = freeSlot
    let moves = 0
    while (node.from >= 0) {
      const source = queue[node.from]
      this.#put(node.bucket, free, this.#entry(source.bucket, node.slot))
      free = node.slot
      node = source
      moves += 1
    }
    this.#put(node.bucket, free, entry)
    return moves
  }
}

/** Low word, high word, payload + 1. */
type Entry = readonly [number, number, number]

/** A bucket of the search, and the node and slot whose key could move to it. */
interface Node {
  readonly bucket: number
  readonly from: number
  readonly slot: number
}
