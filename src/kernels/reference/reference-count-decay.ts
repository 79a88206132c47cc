/** Twins of `assembly/count-decay.ts`: counts that halve with time, in whole numbers. */
import { tableField } from '../table-kernels.ts'
import type { TableMemory } from './reference-table-memory.ts'

/** Past this many ticks nothing is left of any count. */
const nothing = 16_383

/** `count` after `ticks`, with 31 more bits after the point. */
function decayed(table: TableMemory, count: number, ticks: number): bigint {
  // Added to a number below 2^52, 2^52 leaves the nearest whole one.
  const n = Math.min(Math.max(ticks, 0) + 2 ** 52 - 2 ** 52, nothing)
  const factor = table.words[(table.word(tableField.halvings) >>> 2) + (n & 255)]
  return (BigInt(count) * BigInt(factor)) >> BigInt(n >>> 8)
}

/** What a count is worth after `ticks`: exponent and 26 bits of the mantissa, in 32 bits. */
export function worth(table: TableMemory, count: number, ticks: number): number {
  const value = decayed(table, count, ticks) + 1n
  const exponent = value.toString(2).length - 1
  const mantissa = ((value - (1n << BigInt(exponent))) << 26n) >> BigInt(exponent)
  return exponent * 2 ** 26 + Number(mantissa)
}

/**
 * Counts `more` occurrences at `time`, before the row's stamp moves there. Stops at the greatest.
 */
export function addCount(table: TableMemory, row: number, more: number, time: number): void {
  const at = table.stamp(row)
  const count = table.words[at]
  const rate = table.float(tableField.countTicks)
  let sum = count + more
  if (rate !== 0) {
    const ticks = Math.floor(time * rate) - Math.floor(table.lastSeen(row) * rate)
    const kept = (decayed(table, count, ticks) + 0x4000_0000n) >> 31n
    sum = Number(kept) + more * 256
  }
  table.words[at] = Math.min(sum, 0xffff_ffff)
}
