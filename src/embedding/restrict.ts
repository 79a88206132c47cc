/**
 * Which rows leave when a table restricts itself: the lowest scores, in a strict order, so that the
 * same rows leave wherever they lie. The boundary is found by radix selection from the top: a few
 * passes over 24 bytes a row and one histogram of fixed size, whatever the number of rows.
 */
import { ServiceError } from '../base/errors.ts'
import type { Awaitable, Keys } from '../base/keys.ts'
import { histogramBins, scoreComponent } from '../kernels/table-kernels.ts'
import type { EmbeddingTable, RestrictRequest } from './embedding-table.ts'
import type { RestrictPolicy } from './table-spec.ts'
import type { TableStorage } from './table-storage.ts'

const { count, lastSeen, key } = scoreComponent

/** The first component compared; the later ones break ties: older first, then by key. */
const firstComponent = { frequency: count, timestamp: lastSeen } as const satisfies Record<
  RestrictPolicy,
  number
>

const greatest = 2n ** 64n - 1n
const noKeys: Keys = new Uint32Array(0)

/** Restricts a table as its specification says, if it says so: to be called between batches. */
export function restrictWhenFull(table: EmbeddingTable): Awaitable<Keys> {
  return table.spec.restrict === undefined ? noKeys : table.restrict(table.spec.restrict)
}

/** How many rows must leave a table of `size` rows. Throws `RESTRICT_INVALID`. */
export function rowsToRemove(request: RestrictRequest, size: number): number {
  for (const argument of ['numReserved', 'trigger'] as const) {
    const value = request[argument]
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ServiceError('RESTRICT_INVALID', { argument, value })
    }
  }
  return size > request.trigger ? Math.max(0, size - request.numReserved) : 0
}

/** A score: rows that are not above it, compared from component `first` on, are the lowest. */
export interface Boundary {
  readonly first: number
  /** One for each component. */
  readonly values: readonly bigint[]
}

/** The boundary below which exactly `wanted` rows lie; 0 < wanted <= rows. */
export function lowestRows(
  storage: TableStorage,
  policy: RestrictPolicy,
  wanted: number,
): Boundary {
  const first = firstComponent[policy]
  const window = [0n, greatest, 0n, greatest, 0n, greatest]
  let remaining = wanted
  for (let component = first; component <= key; component += 1) {
    narrowToRange(storage, window, component)
    while (window[2 * component] < window[2 * component + 1]) {
      remaining -= narrow(storage, window, { component, wanted: remaining })
      if (remaining === 0) break
    }
    if (remaining === 0) break
  }
  return { first, values: [window[1], window[3], window[5]] }
}

/** Shrinks the window to the values that occur. */
function narrowToRange(storage: TableStorage, window: bigint[], component: number): void {
  const { kernels, table, operands } = storage
  writeWords(operands.view, window)
  const out = operands.address + 48
  kernels.tableScoreRange(table, operands.address, component, out)
  const [least, most] = readWords(operands.view.subarray(12, 16))
  window[2 * component] = least
  window[2 * component + 1] = most
}

/**
 * Narrows a component to the bin in which the wanted number is reached. Returns how many rows lie
 * below that bin; all that were wanted, when they end with the bin.
 */
function narrow(
  storage: TableStorage,
  window: bigint[],
  { component, wanted }: { readonly component: number; readonly wanted: number },
): number {
  const { kernels, table, operands, bins } = storage
  const [low, high] = window.slice(2 * component, 2 * component + 2)
  let bits = 0
  while ((high - low) >> BigInt(bits) >= BigInt(histogramBins)) bits += 1
  writeWords(operands.view, window)
  kernels.tableScoreHistogram(table, operands.address, component, bits, bins.address)
  let bin = 0
  let below = 0
  while (below + bins.view[bin] < wanted) {
    below += bins.view[bin]
    bin += 1
  }
  const start = low + (BigInt(bin) << BigInt(bits))
  const end = start + (1n << BigInt(bits)) - 1n
  window[2 * component] = start
  window[2 * component + 1] = end < high ? end : high
  return below + bins.view[bin] === wanted ? wanted : below
}

/** Puts a boundary where the kernel reads it. */
export function writeBoundary({ operands }: TableStorage, boundary: Boundary): void {
  writeWords(operands.view, boundary.values)
}

function writeWords(words: Uint32Array, values: readonly bigint[]): void {
  for (const [i, value] of values.entries()) {
    words[2 * i] = Number(value & 0xffff_ffffn)
    words[2 * i + 1] = Number(value >> 32n)
  }
}

const readWords = (words: Uint32Array): readonly bigint[] =>
  Array.from(
    { length: words.length >>> 1 },
    (_, i) => (BigInt(words[2 * i + 1]) << 32n) | BigInt(words[2 * i]),
  )
