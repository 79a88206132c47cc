/**
 * The tables of a trainer whose rows do not all fit in memory: opens their stores, makes them parts
 * of checkpoints, and says when rows must leave. A shell around `TieredTable`: it connects and
 * waits.
 */
import { setTimeout } from 'node:timers/promises'

import { present } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import { MemoryTable } from '../embedding/memory/memory-table.ts'
import { openRedisRowStore, type RedisRowStoreOptions } from '../embedding/redis/redis-row-store.ts'
import type { TableSpec } from '../embedding/table-spec.ts'
import { readRedo } from '../embedding/tiered/redo.ts'
import { RowKeeper, type RowStoreEvent } from '../embedding/tiered/row-keeper.ts'
import type { RowStore } from '../embedding/tiered/row-store.ts'
import { TieredTable } from '../embedding/tiered/tiered-table.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import type { CheckpointPart, CheckpointStore } from './checkpoint/checkpoint.ts'
import type { TrainerReport } from './trainer-status.ts'

/** Plain data, so that it can be handed to a worker thread. */
export interface FarRowsOptions {
  /**
   * Rows in memory of each table whose other rows lie elsewhere; all other tables are in memory.
   */
  readonly memoryRows: Readonly<Record<string, number>>
  readonly redis: Omit<RedisRowStoreOptions, 'table' | 'recordBytes' | 'batchRows' | 'clock'>
  /** How long a start waits for the store, and a stop, in milliseconds. */
  readonly startWaitMs: number
  readonly stopWaitMs: number
}

export type OpenRowStore = (table: TableSpec, recordBytes: number) => Promise<RowStore>

export interface FarRowsParts {
  readonly options: FarRowsOptions
  readonly tables: readonly TableSpec[]
  readonly kernels: KernelImplementation
  readonly clock: Clock
  /** Absent: nothing survives the process, so the store is emptied at the start and at the end. */
  readonly checkpoints: CheckpointStore | undefined
  readonly report: (report: TrainerReport) => void
  /** Default: Redis as the options say. */
  readonly openStore?: OpenRowStore
}

/** `soon`: a checkpoint should be written; `now`: the next batch may not fit before it is. */
export type Pressure = 'none' | 'soon' | 'now'

interface FarTable {
  readonly table: TieredTable
  readonly keeper: RowKeeper
  readonly store: RowStore
  /** Most rows that one batch can touch. */
  reserve: number
}

const retryMs = 500
const sayEveryMs = 10_000

const codes = {
  waiting: 'rowStoreWaiting',
  back: 'rowStoreBack',
  wentBack: 'rowStoreWentBack',
  redone: 'rowStoreRedone',
} as const satisfies Record<RowStoreEvent['kind'], TrainerReport['code']>

export class FarRows {
  readonly #parts: FarRowsParts
  readonly #giveUp: AbortController
  readonly #far: ReadonlyMap<string, FarTable>
  #stopping: NodeJS.Timeout | undefined

  /** Throws `ROW_STORE_*` when a store cannot be had in time, `MEMORY_EXHAUSTED`. */
  static async open(parts: FarRowsParts): Promise<FarRows> {
    const giveUp = new AbortController()
    const far = new Map<string, FarTable>()
    try {
      for (const spec of parts.tables) {
        const memoryRows = parts.options.memoryRows[spec.name]
        if (memoryRows === undefined) continue
        far.set(spec.name, await openTable(spec, memoryRows, parts, giveUp.signal))
      }
    } catch (error) {
      for (const { store } of far.values()) await store.close()
      throw error
    }
    return new FarRows(parts, giveUp, far)
  }

  private constructor(
    parts: FarRowsParts,
    giveUp: AbortController,
    far: ReadonlyMap<string, FarTable>,
  ) {
    this.#parts = parts
    this.#giveUp = giveUp
    this.#far = far
  }

  get names(): Iterable<string> {
    return this.#far.keys()
  }

  table(name: string): TieredTable | undefined {
    return this.#far.get(name)?.table
  }

  /** Whether it was decided not to wait for a store any more. */
  get hasGivenUp(): boolean {
    return this.#giveUp.signal.aborted
  }

  /** A batch touches at most so many rows of the table. Throws `CONFIG_INVALID`. */
  reserve(name: string, rows: number): void {
    const far = this.#far.get(name)
    if (far === undefined) return
    const { memoryRows, spec } = far.table
    if (memoryRows < spec.capacityRows && memoryRows < 2 * rows) {
      const touched = `a batch may touch ${rows} rows of table ${name}`
      const reason = `${touched}, of which ${memoryRows} are in memory: expected twice as many`
      const details = { source: 'process.tables', path: 'memoryRows', reason }
      throw new ServiceError('CONFIG_INVALID', details)
    }
    far.reserve = rows
  }

  /**
   * Makes the stores what the checkpoint says that the trainer starts from; -1: it starts from
   * nothing. Throws `ROW_STORE_*`.
   */
  async start(sequence: number): Promise<void> {
    for (const { keeper, store } of this.#far.values()) {
      if (this.#parts.checkpoints === undefined) await store.clear()
      await keeper.open(sequence)
    }
  }

  /** Of a checkpoint that is made now; then `flush` or `takeBack`. */
  parts(name: string): readonly CheckpointPart[] {
    const { table } = present(this.#far.get(name), name)
    return [
      { name: directoryPart(name), chunks: table.snapshot() },
      { name: redoPart(name), chunks: table.redo() },
    ]
  }

  /** The checkpoint is durable: rows go to the stores. Resolves when they are there. */
  async flush(sequence: number): Promise<void> {
    await Promise.all([...this.#far.values()].map(({ table }) => table.flush(sequence)))
  }

  /** The checkpoint could not be written. */
  takeBack(): void {
    for (const { table } of this.#far.values()) table.takeBack()
  }

  pressure(): Pressure {
    let pressure: Pressure = 'none'
    for (const { table, reserve } of this.#far.values()) {
      if (table.room < reserve) return 'now'
      if (table.room - reserve < (table.memoryRows - reserve) / 2) pressure = 'soon'
    }
    return pressure
  }

  /** After a while no store is waited for any more: what waits rejects. */
  stop(): void {
    this.#stopping ??= globalThis.setTimeout(() => {
      this.#giveUp.abort(new ServiceError('TRAINER_STOPPED', {}))
    }, this.#parts.options.stopWaitMs)
  }

  async close(): Promise<void> {
    clearTimeout(this.#stopping)
    this.#giveUp.abort(new ServiceError('TRAINER_STOPPED', {}))
    for (const { store } of this.#far.values()) {
      if (this.#parts.checkpoints === undefined) await store.clear().catch(() => undefined)
      await store.close()
    }
  }
}

/** Files of a checkpoint. */
export const directoryPart = (name: string): string => `rows-${name}`
export const redoPart = (name: string): string => `redo-${name}`
export const isRedoPart = (file: string): boolean => file.startsWith(redoPart(''))

async function openTable(
  spec: TableSpec,
  memoryRows: number,
  parts: FarRowsParts,
  signal: AbortSignal,
): Promise<FarTable> {
  const { kernels: implementation, clock, checkpoints, report } = parts
  const { recordBytes } = new MemoryTable({ ...spec, capacityRows: 1 }, { implementation })
  const store = await whenThere(spec, parts, recordBytes)
  const keeper = new RowKeeper({
    name: spec.name,
    store,
    clock,
    // What is waited for long must not keep a process alive that is done.
    wait: (ms) => setTimeout(ms, undefined, { ref: ms < 1000 }),
    signal,
    ...(checkpoints && {
      saved: (sequence) => {
        const chunks = checkpoints.part(sequence, redoPart(spec.name))
        return chunks && readRedo(chunks, spec.name)
      },
    }),
    report: ({ kind, message, details }) => {
      const level = kind === 'back' || kind === 'redone' ? 'info' : 'warn'
      report({ level, code: codes[kind], message, details })
    },
  })
  const table = new TieredTable(spec, { memoryRows, rows: keeper, implementation })
  return { table, keeper, store, reserve: 0 }
}

/** A store that does not answer yet is asked again until `startWaitMs` are over. */
async function whenThere(
  spec: TableSpec,
  { options, clock, report, openStore }: FarRowsParts,
  recordBytes: number,
): Promise<RowStore> {
  const open = openStore ?? ((table) => openRedisRowStore({ table, recordBytes, ...options.redis }))
  const from = clock.monotonic()
  let saidAt = -Infinity
  for (;;) {
    try {
      return await open(spec, recordBytes)
    } catch (error) {
      const now = clock.monotonic()
      const isAway = error instanceof ServiceError && error.code === 'ROW_STORE_UNAVAILABLE'
      if (!isAway || now - from >= options.startWaitMs) throw error
      const message = `the start waits for the row store of table ${spec.name}: ${error.message}`
      if (now - saidAt >= sayEveryMs) {
        report({ level: 'warn', code: 'rowStoreWaiting', message, details: { ...error.details } })
        saidAt = now
      }
      await setTimeout(retryMs)
    }
  }
}
