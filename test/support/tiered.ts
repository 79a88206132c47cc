/** Tiered tables over a row store in memory, for tests. */
import { systemClock } from '../../src/base/clock.ts'
import { MemoryTable } from '../../src/embedding/memory/memory-table.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import type { SavedCut } from '../../src/embedding/tiered/redo.ts'
import { RowKeeper, type RowStoreEvent } from '../../src/embedding/tiered/row-keeper.ts'
import type { RowStore } from '../../src/embedding/tiered/row-store.ts'
import { TieredTable } from '../../src/embedding/tiered/tiered-table.ts'
import { MemoryRowStore, type MemoryRows } from './memory-row-store.ts'

export interface TieredOptions {
  readonly memoryRows: number
  readonly store?: RowStore
  readonly tags?: Map<string, MemoryRows>
  readonly before?: (verb: string) => Promise<void> | void
  readonly saved?: (sequence: number) => SavedCut | undefined
  readonly signal?: AbortSignal
}

export interface TieredSubject {
  readonly table: TieredTable
  readonly store: MemoryRowStore
  readonly keeper: RowKeeper
  readonly events: RowStoreEvent[]
}

/** Bytes of a row of the table, as its store has it. */
export const recordBytesOf = (spec: TableSpec): number =>
  new MemoryTable({ ...spec, capacityRows: 1 }).recordBytes

export function tieredTable(spec: TableSpec, options: TieredOptions): TieredSubject {
  const { memoryRows, tags, before, saved, signal = new AbortController().signal } = options
  const store = new MemoryRowStore({
    recordBytes: recordBytesOf(spec),
    ...(tags && { tags }),
    ...(before && { before }),
  })
  const events: RowStoreEvent[] = []
  const keeper = new RowKeeper({
    name: spec.name,
    store: options.store ?? store,
    clock: systemClock,
    wait: (ms) => new Promise((resolve) => setTimeout(resolve, Math.min(ms, 5))),
    signal,
    ...(saved && { saved }),
    report: (event) => events.push(event),
  })
  return { table: new TieredTable(spec, { memoryRows, rows: keeper }), store, keeper, events }
}
