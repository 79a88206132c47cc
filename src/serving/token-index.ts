/**
 * Which items have which token: inverted lists over the features and attributes of the catalogue,
 * from which a filter becomes a bitmap in time proportional to its lists. A namespace is the name
 * of a feature or attribute; its tokens are strings, numbers and booleans as text, one or a list.
 */
import { type Bitmap, setBit } from '../ann/ann-index.ts'
import type { Item } from '../stream/example.ts'
import type { ItemFilter } from './recommendation.ts'

/** A longer text is no token: nobody filters by it, and it would take memory. */
const maxTokenLength = 128

type Filterable = Pick<Item, 'handle' | 'features' | 'attributes' | 'crowdingTag'>

/** The namespace of crowding tags: no feature or attribute has an empty name. */
const crowds = ''

/** Handles that have a token, in no order. */
class HandleList {
  #handles = new Int32Array(2)
  #size = 0

  get size(): number {
    return this.#size
  }

  add(handle: number): void {
    if (this.#size === this.#handles.length) {
      const handles = new Int32Array(2 * this.#size)
      handles.set(this.#handles)
      this.#handles = handles
    }
    this.#handles[this.#size] = handle
    this.#size += 1
  }

  remove(handle: number): void {
    const at = this.view().indexOf(handle)
    if (at < 0) return
    this.#size -= 1
    this.#handles[at] = this.#handles[this.#size]
  }

  view(): Int32Array {
    return this.#handles.subarray(0, this.#size)
  }
}

/** Invariant: an item is in exactly the lists of its tokens, once in each. */
export class TokenIndex {
  readonly #lists = new Map<string, HandleList>()

  add(item: Filterable): void {
    for (const token of tokensOf(item)) {
      const list = this.#lists.get(token) ?? new HandleList()
      if (list.size === 0) this.#lists.set(token, list)
      list.add(item.handle)
    }
  }

  /** The item as it was added. */
  remove(item: Filterable): void {
    for (const token of tokensOf(item)) {
      const list = this.#lists.get(token)
      if (list === undefined) continue
      list.remove(item.handle)
      if (list.size === 0) this.#lists.delete(token)
    }
  }

  /** Clears the bits of items that the filter shuts out. `scratch` has the bitmap's length. */
  apply({ allow = {}, deny = {} }: ItemFilter, bitmap: Bitmap, scratch: Bitmap): void {
    for (const [namespace, values] of Object.entries(allow)) {
      scratch.fill(0)
      this.#each(namespace, values, (handle) => setBit(scratch, handle, true))
      for (let i = 0; i < bitmap.length; i += 1) bitmap[i] &= scratch[i]
    }
    for (const [namespace, values] of Object.entries(deny)) {
      this.#each(namespace, values, (handle) => setBit(bitmap, handle, false))
    }
  }

  /** Clears the bits of all items with this crowding tag. */
  hideCrowd(tag: string, bitmap: Bitmap): void {
    this.#each(crowds, [tag], (handle) => setBit(bitmap, handle, false))
  }

  #each(namespace: string, values: readonly string[], visit: (handle: number) => void): void {
    for (const value of values) {
      const list = this.#lists.get(tokenOf(namespace, value))
      if (list !== undefined) for (const handle of list.view()) visit(handle)
    }
  }
}

const tokenOf = (namespace: string, value: string): string => `${namespace}\0${value}`

/** The item's tokens, each once: a feature and an attribute of one name share a namespace. */
function tokensOf({ features, attributes, crowdingTag }: Filterable): Set<string> {
  const fields = [...Object.entries(features), ...Object.entries(attributes)]
  const tokens = new Set<string>()
  for (const [namespace, value] of fields) {
    const values: readonly unknown[] = Array.isArray(value) ? value : [value]
    for (const text of values.flatMap(textsOf)) tokens.add(tokenOf(namespace, text))
  }
  if (crowdingTag !== undefined) tokens.add(tokenOf(crowds, crowdingTag))
  return tokens
}

function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.length <= maxTokenLength ? [value] : []
  return typeof value === 'number' || typeof value === 'boolean' ? [String(value)] : []
}
