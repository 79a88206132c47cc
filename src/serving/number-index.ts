/**
 * Numbers of items by name: columns over handles, from which a range becomes a bitmap. A name is
 * that of a feature or attribute whose value is one finite number.
 */
import type { Bitmap } from '../ann/ann-index.ts'
import type { Item } from '../stream/example.ts'
import type { NumericRestrict } from './recommendation.ts'

type Numbered = Pick<Item, 'handle' | 'features' | 'attributes'>

const pageHandles = 1024
const pageWords = pageHandles / 32

/** Names that are kept; items meet no restrict of a name beyond. */
const maxNames = 1024

/** One number for each handle that has one, NaN for the others of a page. */
interface Column {
  readonly pages: (Float64Array | undefined)[]
  values: number
}

/** Invariant: a column has a value, and a page is there if a handle of it has had one. */
export class NumberIndex {
  readonly #columns = new Map<string, Column>()

  add(item: Numbered): void {
    for (const [name, value] of numbersOf(item)) {
      const column = this.#columns.get(name) ?? { pages: [], values: 0 }
      if (column.values === 0) {
        if (this.#columns.size === maxNames) continue
        this.#columns.set(name, column)
      }
      const at = Math.floor(item.handle / pageHandles)
      const page = (column.pages[at] ??= new Float64Array(pageHandles).fill(Number.NaN))
      page[item.handle % pageHandles] = value
      column.values += 1
    }
  }

  /** The item as it was added. */
  remove(item: Numbered): void {
    for (const [name] of numbersOf(item)) {
      const column = this.#columns.get(name)
      const page = column?.pages[Math.floor(item.handle / pageHandles)]
      const at = item.handle % pageHandles
      // Of a name that was beyond the bound when the item came, there is nothing to remove.
      if (column === undefined || page === undefined || Number.isNaN(page[at])) continue
      page[at] = Number.NaN
      column.values -= 1
      if (column.values === 0) this.#columns.delete(name)
    }
  }

  /** Clears the bits of items whose number is absent or outside of a range. */
  apply(restricts: Readonly<Record<string, NumericRestrict>>, bitmap: Bitmap): void {
    for (const [name, restrict] of Object.entries(restricts)) {
      const pages = this.#columns.get(name)?.pages ?? []
      const interval = intervalOf(restrict)
      for (let at = 0; at < bitmap.length; at += pageWords) {
        const words = bitmap.subarray(at, at + pageWords)
        const page = pages[at / pageWords]
        if (page === undefined) words.fill(0)
        else keepWithin(page, interval, words)
      }
    }
  }
}

function keepWithin(
  page: Float64Array,
  [low, high]: readonly [number, number],
  words: Bitmap,
): void {
  for (let w = 0; w < words.length; w += 1) {
    if (words[w] === 0) continue
    let mask = 0
    for (let bit = 0; bit < 32; bit += 1) {
      const value = page[w * 32 + bit]
      if (value >= low && value <= high) mask |= 1 << bit
    }
    words[w] &= mask
  }
}

/** Each name once: an attribute hides the feature of its name. */
function numbersOf({ features, attributes }: Numbered): Map<string, number> {
  const fields = [...Object.entries(features), ...Object.entries(attributes)]
  return new Map(fields.filter((field): field is [string, number] => Number.isFinite(field[1])))
}

/** The least and the greatest number that meet a restrict; a NaN is met by none. */
function intervalOf({ eq, gt, gte, lt, lte }: NumericRestrict): readonly [number, number] {
  const lows = [eq, gte, gt === undefined ? gt : above(gt)]
  const highs = [eq, lte, lt === undefined ? lt : -above(-lt)]
  return [Math.max(...lows.filter(isGiven)), Math.min(...highs.filter(isGiven))]
}

const isGiven = (bound: number | undefined): bound is number => bound !== undefined

const scratch = new DataView(new ArrayBuffer(8))

/** The next greater number that there is. */
function above(value: number): number {
  if (value === 0) return Number.MIN_VALUE
  scratch.setFloat64(0, value)
  scratch.setBigInt64(0, scratch.getBigInt64(0) + (value > 0 ? 1n : -1n))
  return scratch.getFloat64(0)
}
