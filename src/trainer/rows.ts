/**
 * Rows for what the model has prepared. Tables are asked one after the other without waiting, so
 * that those whose rows lie elsewhere fetch them at the same time; where all answer at once there
 * is no promise.
 */
import { present } from '../base/assert.ts'
import type { Awaitable } from '../base/keys.ts'
import type { DurableTable } from '../embedding/durable-table.ts'
import type { Lookup } from '../model/table-lookup.ts'

/** By name. */
export type Tables = ReadonlyMap<string, DurableTable>

/**
 * Calls `ask` with each lookup and its table. What is returned is to be awaited: it settles when
 * all tables have, and rejects with the error of the first that failed.
 */
export function eachTable(
  lookups: readonly Lookup[],
  tables: Tables,
  ask: (table: DurableTable, lookup: Lookup) => Awaitable<void>,
): Promise<void> | undefined {
  let waiting: Promise<void>[] | undefined
  for (const lookup of lookups) {
    const answer = ask(present(tables.get(lookup.table), lookup.table), lookup)
    if (answer === undefined) continue
    waiting ??= []
    waiting.push(answer)
  }
  return waiting && settled(waiting)
}

/** Vectors for reading: nobody gets a row by it. */
export function findRows(lookups: readonly Lookup[], tables: Tables): Promise<void> | undefined {
  return eachTable(lookups, tables, (table, { keys, rows }) => table.find(keys, rows))
}

/**
 * Settles when all have, not before the last one: they write into memory that is used again.
 * Rejects with the error of the first that failed.
 */
export async function settled(waiting: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(waiting)) {
    if (result.status === 'rejected') throw result.reason
  }
}
