/**
 * A restrict under way, as plain values that a snapshot can hold. How far it has come, together
 * with the rows as they are, decides what it does next: nothing depends on where rows lie.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { scoreComponent } from '../../kernels/table-kernels.ts'
import type { RestrictPolicy } from '../table-spec.ts'

const { count, lastSeen, key } = scoreComponent

/** The first component compared; the later ones break ties: older first, then by key. */
const firstComponent = {
  frequency: count,
  timestamp: lastSeen,
  combined: count,
} as const satisfies Record<RestrictPolicy, number>

/** How much is done in one step between two batches. */
export interface StepSizes {
  /** Rows that a pass looks at. */
  readonly scanned: number
  /** Rows that are removed, on average. */
  readonly removed: number
}

/** Two or three milliseconds, whatever the size of the table. */
export const defaultSteps: StepSizes = { scanned: 262_144, removed: 12_288 }

const greatest = 2n ** 64n - 1n
const greatestCount = 2n ** 32n - 1n

export interface Restriction {
  /** The component of a score from which on it is compared with the boundary. */
  readonly first: number
  /** Rows that changed after this version stay. */
  readonly version: number
  /** Counts are taken as what they are worth at this time, decaying by so many ticks each ms. */
  readonly now: number
  readonly rate: number
  /** Rows that were last seen before take no part. */
  readonly since: number
  /** Lower and upper end, both included, of each component's values at the boundary. */
  readonly ranges: readonly bigint[]
  /** The component whose range is being narrowed; past the last one the boundary is found. */
  readonly component: number
  /** Rows to remove at most, and how many of those within the ranges. */
  readonly wanted: number
  readonly remaining: number
  /** Of the pass under way, that narrows or, past the last component, collects. */
  readonly part: number
  readonly parts: number
  /** Once all are collected: the share of the keys to remove next, and how many there are. */
  readonly share: number
  readonly shares: number
}

export interface RestrictionPlan {
  readonly policy: RestrictPolicy
  /** Rows to remove at most, above 0. */
  readonly wanted: number
  /** The version and the time of the table now. */
  readonly version: number
  readonly now: number
  /** Ticks a ms by which counts decay; see `tickRate`. */
  readonly rate: number
  /** Rows last seen after the second leave under no condition; none was before the first. */
  readonly times: readonly [oldest: number, newest: number]
  readonly since: number
  readonly capacityRows: number
  readonly steps: StepSizes
}

/** A restriction before anything is done for it. */
export function planRestriction(plan: RestrictionPlan): Restriction {
  const { policy, wanted, version, now, rate, times, since, capacityRows, steps } = plan
  const first = firstComponent[policy]
  const ranges = [0n, greatestCount, ordered(times[0]), ordered(times[1]), 0n, greatest]
  const progress = { component: first, wanted, remaining: wanted, share: 0, shares: 1 }
  const parts = Math.ceil(capacityRows / steps.scanned)
  return { first, version, now, rate, since, ranges, ...progress, part: 0, parts }
}

/** Whether the boundary is found. */
export const isFound = ({ component }: Restriction): boolean => component > key

/** Whether the rows that leave are collected. */
export const isCollected = (restriction: Restriction): boolean =>
  isFound(restriction) && restriction.part === restriction.parts

/** The boundary is found, and so many rows are not above it. Undefined: there are none. */
export const found = (
  restriction: Restriction,
  leaving: number,
  { removed }: StepSizes,
): Restriction | undefined =>
  leaving === 0
    ? undefined
    : { ...restriction, component: key + 1, part: 0, shares: Math.ceil(leaving / removed) }

/** Whole milliseconds as a number that grows with them, also below zero. */
const ordered = (time: number): bigint => BigInt.asUintN(64, BigInt(time) ^ (1n << 63n))

export function writeRestriction(writer: ByteWriter, restriction: Restriction): void {
  const { first, version, now, rate, since, ranges, component } = restriction
  const { wanted, remaining, part, parts, share, shares } = restriction
  writer.varint(first).uint32(version).float64(now).float64(rate).float64(since)
  writer.array(BigUint64Array.from(ranges))
  writer.varint(component).varint(wanted).varint(remaining)
  writer.varint(part).varint(parts).varint(share).varint(shares)
}

export const readRestriction = (reader: ByteReader): Restriction => ({
  first: reader.varint(),
  version: reader.uint32(),
  now: reader.float64(),
  rate: reader.float64(),
  since: reader.float64(),
  ranges: [...new BigUint64Array(reader.array())],
  component: reader.varint(),
  wanted: reader.varint(),
  remaining: reader.varint(),
  part: reader.varint(),
  parts: reader.varint(),
  share: reader.varint(),
  shares: reader.varint(),
})
