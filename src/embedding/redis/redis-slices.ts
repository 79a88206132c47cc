/**
 * Where rows lie in Redis. The keys of a table are cut into slices by their hash; a slice is one
 * hash of rows and one of what is known of them, under names with one hash tag, so that both are on
 * one node and a script may use both. Hash tags are chosen so that slice i of n lies in the i-th of
 * n equal ranges of the cluster's 16,384 hash slots: any number of nodes gets its share.
 *
 *     freshet:<model tag>:{<table>:<slice tag>}:rows
 *     freshet:<model tag>:{<table>:<slice tag>}:slice
 *     freshet:{<table>}:tags
 *
 * Model tags stand outside the hash tag: slices of one table lie together under all of them, and
 * the server itself can copy one to another.
 */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'

const hashSlots = 16_384
/** Rows of a slice at the table's capacity, on average: hashes stay small enough to be moved. */
const rowsPerSlice = 16_384
/** So that a cluster of a few nodes shares even a small table. */
const fewestSlices = 16
/** Of more, one batch would send more commands than rows are worth. */
const mostSlices = 4_096

/** A power of two, for hashes of some 16,384 rows. */
export const slicesFor = (capacityRows: number): number =>
  Math.min(
    mostSlices,
    Math.max(fewestSlices, 2 ** Math.ceil(Math.log2(capacityRows / rowsPerSlice))),
  )

export interface SliceNames {
  readonly rows: string
  readonly slice: string
}

/** Neither name may hold a brace, which would end the hash tag. */
export function sliceNames(table: string, tag: string, slices: number): readonly SliceNames[] {
  assert(!/[{}]/.test(table + tag), 'no braces in the names of tables and model tags')
  return sliceTags(table, slices).map((sliceTag) => {
    const prefix = `freshet:${tag}:{${table}:${sliceTag}}`
    return { rows: `${prefix}:rows`, slice: `${prefix}:slice` }
  })
}

/** A hash from model tag to `{slices, used}`. */
export const tagsName = (table: string): string => `freshet:{${table}}:tags`

/** Of each slice the least number whose hash tag falls into its range of hash slots. */
function sliceTags(table: string, slices: number): readonly number[] {
  const tags = Array.from({ length: slices }, () => -1)
  let missing = slices
  for (let candidate = 0; missing > 0; candidate += 1) {
    const range = Math.floor((hashSlot(`${table}:${candidate}`) * slices) / hashSlots)
    if (tags[range] !== -1) continue
    tags[range] = candidate
    missing -= 1
  }
  return tags
}

/** CRC-16/XMODEM of the bytes, modulo the number of slots: the cluster specification's. */
export function hashSlot(hashTag: string): number {
  let crc = 0
  for (const byte of new TextEncoder().encode(hashTag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
    }
  }
  return crc % hashSlots
}

/** The slice of a key, given as its two words. */
function sliceOf(low: number, high: number, slices: number): number {
  const mixed = Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1)
  return Math.floor(((mixed ^ (mixed >>> 15)) >>> 0) * (slices / 2 ** 32))
}

/** A batch of keys by slice. */
export interface SlicedKeys {
  /** Slices that have keys. */
  readonly slices: readonly number[]
  /** Keys order[starts[s]] .. order[starts[s + 1] - 1] of the batch are slice s's. */
  readonly starts: Uint32Array
  readonly order: Uint32Array
}

/** Keys of slice s in their order in the batch; key 0, which has no row, is left out. */
export function sliceKeys(keys: Keys, slices: number): SlicedKeys {
  assert(slices >= 1 && slices <= mostSlices, 'a number of slices')
  const n = keyCount(keys)
  const sliceOfKey = new Uint16Array(n)
  const starts = new Uint32Array(slices + 1)
  for (let i = 0; i < n; i += 1) {
    const [low, high] = [keys[2 * i], keys[2 * i + 1]]
    const slice = low === 0 && high === 0 ? mostSlices : sliceOf(low, high, slices)
    sliceOfKey[i] = slice
    if (slice < slices) starts[slice + 1] += 1
  }
  const used: number[] = []
  for (let slice = 0; slice < slices; slice += 1) {
    if (starts[slice + 1] > 0) used.push(slice)
    starts[slice + 1] += starts[slice]
  }
  const order = new Uint32Array(starts[slices])
  const next = starts.slice()
  for (let i = 0; i < n; i += 1) {
    const slice = sliceOfKey[i]
    if (slice === mostSlices) continue
    order[next[slice]] = i
    next[slice] += 1
  }
  return { slices: used, starts, order }
}
