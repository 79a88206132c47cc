/** When a table restricts itself and how far; `selection.ts` finds the rows that leave. */
import { ServiceError } from '../../base/errors.ts'
import type { Awaitable, Keys } from '../../base/keys.ts'
import type { RestrictRequest } from '../embedding-table.ts'
import type { TableSpec } from '../table-spec.ts'

/** A table that does not say at how many rows it restricts itself does so at this load. */
const defaultFill = 0.95
/**
 * A table of no larger capacity is restricted at once: that takes some milliseconds. Others take a
 * step between two batches.
 */
export const wholeRows = 131_072

const noKeys: Keys = new Uint32Array(0)

/** The part of a table that restricts it. */
interface Restrictable<Result> {
  readonly spec: TableSpec
  restrictSome(request: RestrictRequest): Result
}

/**
 * Restricts a table as its specification says, if it says so: to be called between any two batches,
 * since a large table has more to do after the first call. Returns the keys removed now.
 */
export function restrictWhenFull(table: Restrictable<Keys>): Keys
export function restrictWhenFull(table: Restrictable<Awaitable<Keys>>): Awaitable<Keys>
export function restrictWhenFull(table: Restrictable<Awaitable<Keys>>): Awaitable<Keys> {
  const request = ownRequest(table.spec)
  return request === undefined ? noKeys : table.restrictSome(request)
}

/** What a table asks of itself; undefined where nothing makes its rows leave. */
export function ownRequest({ restrict, capacityRows }: TableSpec): RestrictRequest | undefined {
  if (restrict === undefined) return undefined
  const { trigger = Math.floor((restrict.triggerFill ?? defaultFill) * capacityRows) } = restrict
  return { ...restrict, trigger }
}

/** How many rows must leave a table of `size` rows. Throws `RESTRICT_INVALID`. */
export function rowsToRemove(request: RestrictRequest, size: number): number {
  const { numReserved, trigger, floorRows = 0 } = request
  for (const [argument, value] of Object.entries({ numReserved, trigger, floorRows })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ServiceError('RESTRICT_INVALID', { argument, value })
    }
  }
  return size > trigger ? Math.max(0, size - Math.max(numReserved, floorRows)) : 0
}
