/** The catalogue: items by id and by handle, how much each is clicked now, and which are active. */
import type { Item } from './example.ts'

export interface ItemPage {
  readonly items: readonly Item[]
  /** Where the next page starts; undefined at the end. */
  readonly cursor: number | undefined
}

export declare class Catalogue {
  /** Items now. */
  get size(): number
  /** One more than the largest handle ever given: arrays and bitmaps by handle need this length. */
  get handleLimit(): number
  /** Handles are always below this: `maxItems` and a margin for those not yet released. */
  readonly handleCapacity: number
  byId(id: string): Item | undefined
  byHandle(handle: number): Item | undefined
  /** In order of handles. */
  items(): Generator<Item>
  /** At most `limit` items from `cursor` (0: the start) on, in order of handles. */
  list(cursor: number, limit: number): ItemPage
  /** Items whose `expiresAt` has passed, at most `limit`, in order of handles. */
  expired(time: number, limit: number): readonly Item[]
  /** Stream time of the newest upsert or interaction, epoch ms. */
  lastTouchedAt(handle: number): number
  /** Interactions with the item since it is known. */
  interactions(handle: number): number
  /** Items interacted with within the active window. */
  get activeSize(): number
  /** Handle of the i-th active item, 0 <= i < activeSize: uniform i, uniform item. */
  active(index: number): number
  isActive(handle: number): boolean
  /** Decayed number of interactions of each handle at `time`. */
  decayedCounts(handles: Int32Array, time: number, out: Float32Array): void
  /** ln(decayed count + smoothing) of each handle at `time`. */
  logPopularity(
    handles: Int32Array,
    at: { readonly time: number; readonly smoothing: number },
    out: Float32Array,
  ): void
  /** Decayed count of all interactions together at `time`. */
  totalCount(time: number): number
}
