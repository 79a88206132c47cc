/**
 * What a reader holds of the service's state: facts, which it folds from the log itself, and
 * parameters, which the trainer's deltas carry to it. From both it embeds queries and items. It
 * answers at once and knows neither clock nor sockets; whoever owns it feeds it and decides when.
 *
 * Between two pieces of a delta the rows are a mix of two versions, for a fraction of a second, and
 * so they are between the pieces of a resync; a query still meets one state, because nothing
 * changes while it is answered.
 */
import { present } from '../base/assert.ts'
import { keyCount, type Keys } from '../base/keys.ts'
import { tablesThatShare } from '../embedding/admission/admission.ts'
import { SharedRowReader } from '../embedding/admission/shared-row.ts'
import { KeyIndex } from '../embedding/memory/key-index.ts'
import { MemoryTable } from '../embedding/memory/memory-table.ts'
import type { TableSpec } from '../embedding/table-spec.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import { absentPayload } from '../kernels/table-kernels.ts'
import type { QueryInput } from '../model/inputs.ts'
import { withoutEngine } from '../model/plan.ts'
import type { ModelSpec } from '../model/spec.ts'
import type { Lookup } from '../model/table-lookup.ts'
import { TwoTower } from '../model/two-tower.ts'
import type { LogBatch, Position } from '../stream/event-log.ts'
import type { Item } from '../stream/example.ts'
import { Facts, type FactsOptions, type Outcome } from '../stream/facts/facts.ts'
import type { Delta, TableDelta } from '../sync/delta.ts'
import type { ModelState } from './recommendation.ts'

export interface ReplicaOptions {
  readonly model: ModelSpec
  readonly tables: readonly TableSpec[]
  readonly facts: Partial<FactsOptions>
  readonly implementation?: KernelImplementation
  /** Facts and where they stand in the log, from a checkpoint; without, from `position`. */
  readonly start?: { readonly facts: Uint8Array; readonly position: Position }
}

/** Queries and items that are embedded in one call. */
export const queriesPerCall = 32
export const itemsPerCall = 128
/** Rows of a delta applied in one piece: about a millisecond. */
const rowsPerPiece = 2048

/**
 * Rows say in which resync they came, so that those that a whole resync has not brought are known:
 * as times, of which the older are past their time to live.
 */
const [resyncMs, resyncTtlMs] = [1_000, 500]
const onlyExpired = {
  policy: 'timestamp',
  numReserved: 0,
  trigger: Number.MAX_SAFE_INTEGER,
  ttlMs: resyncTtlMs,
} as const
const noWatermark = { offsets: {}, acceptedAt: 0 }

/** The rows of one table, and which item a key is the own row of. */
interface ReplicaTable {
  readonly rows: MemoryTable
  /** Only for tables in which the candidate tower looks up item ids. */
  readonly items: KeyIndex | undefined
  /** The resync that brought its newest row. */
  resync: number
}

/**
 * Invariants: `#tables[t].items` maps the id key of every item of the catalogue to its handle;
 * `state` is that of the last delta applied whole.
 */
export class Replica {
  readonly facts: Facts
  /** Floats per vector in the index: the model's, and log popularity. */
  readonly indexDim: number
  /** Such vectors of a query; the best of them counts. */
  readonly queryHeads: number
  readonly #model: TwoTower
  readonly #smoothing: number
  readonly #needsSweep: boolean
  readonly #tables: ReadonlyMap<string, ReplicaTable>
  readonly #reader = new SharedRowReader()
  readonly #payloads = new Uint32Array(rowsPerPiece)
  readonly #handles = new Int32Array(itemsPerCall)
  #position: Position
  #state: ModelState = { version: 0, sequence: 0, watermark: noWatermark }
  #isComplete = false
  /** Resyncs begun; whether the last has not ended. */
  #resyncs = 0
  #isResyncing = false

  private constructor(options: ReplicaOptions, model: TwoTower, position: Position) {
    const { facts, start } = options
    const factsOptions = { ...facts, examples: false }
    this.facts =
      start === undefined ? new Facts(factsOptions) : Facts.load(start.facts, factsOptions)
    this.indexDim = options.model.dim + 1
    this.queryHeads = model.queryHeads
    this.#model = model
    this.#smoothing = options.model.score.popularity?.smoothing ?? 1
    this.#needsSweep = sharesRows(options) || !model.candidateIsStatic
    this.#position = start?.position ?? position
    this.#tables = tablesOf(options, this.facts.catalogue.handleCapacity)
    for (const item of this.facts.catalogue.items()) this.#own(item)
  }

  /** `position`: where to fold from when there is no checkpoint to start from. */
  static async create(options: ReplicaOptions, position: Position): Promise<Replica> {
    // A few vectors at a time are quickest on the built-in engine.
    const model = await TwoTower.create(withoutEngine(options.model), {
      maxQueries: queriesPerCall,
      maxItems: itemsPerCall,
      threads: 1,
      ...(options.implementation === undefined ? {} : { implementation: options.implementation }),
    })
    return new Replica(options, model, position)
  }

  /** The next event to fold, per partition. */
  get position(): Position {
    return this.#position
  }

  /** The parameters that answers are made with now. */
  get state(): ModelState {
    return this.#state
  }

  /**
   * Whether an item's vector may change without a change in the item's own rows: by dense weights
   * of its tower, or by rows that it shares with others.
   */
  get needsSweep(): boolean {
    return this.#needsSweep
  }

  /**
   * Whether parameters have come whole once: during a later resync rows stay until they are
   * replaced or known to be gone.
   */
  get isComplete(): boolean {
    return this.#isComplete
  }

  /** Folds the i-th event of a batch. `finish` the batch when all are folded. */
  fold(batch: LogBatch, i: number): Outcome {
    const outcome = this.facts.apply(batch.events[i])
    for (const { of, id } of outcome.evicted) if (of === 'item') this.#disown(id)
    if (outcome.kind === 'itemRemoved') this.#disown(outcome.id)
    if ((outcome.kind === 'item' || outcome.kind === 'interaction') && outcome.isNewItem) {
      this.#own(outcome.item)
    }
    return outcome
  }

  finish(batch: LogBatch): void {
    this.facts.release()
    this.#position = { ...this.#position, [batch.partition]: batch.next }
  }

  /**
   * Applies a delta piece by piece, and yields after each the handles of the items whose own rows
   * it changed. Between pieces anything else may happen, but no other delta.
   */
  *apply(delta: Delta, complete: boolean): Generator<Int32Array> {
    if (delta.base === 0) {
      this.#resyncs += 1
      this.#isResyncing = true
    }
    for (const part of delta.tables) {
      const table = present(this.#tables.get(part.table), `table ${part.table}`)
      for (const keys of piecesOf(part.removed)) {
        table.rows.erase(keys)
        yield this.#ownersOf(table, keys)
      }
      yield* this.#assign(table, part)
    }
    if (delta.weights !== undefined) this.#model.load(delta.weights)
    if (complete && this.#isResyncing) yield* this.#endResync()
    const { modelVersion: version, sequence, watermark } = delta
    if (complete) this.#state = { version, sequence, watermark }
    this.#isComplete ||= complete
  }

  /**
   * n x queryHeads x indexDim, a copy: the last float of each weighs log popularity. At most
   * `queriesPerCall`.
   */
  embedQueries(queries: readonly QueryInput[]): Float32Array {
    this.#fill(this.#model.prepareQueries(queries))
    return this.#withPopularity(this.#model.embedQueries(), queries.length * this.queryHeads)
  }

  /** n x indexDim, a copy: the last float is log popularity. At most `itemsPerCall`. */
  embedItems(items: readonly Item[]): Float32Array {
    this.#fill(this.#model.prepareItems(items))
    const vectors = this.#withPopularity(this.#model.embedItems(), items.length)
    const n = items.length
    const handles = this.#handles.subarray(0, n)
    for (let i = 0; i < n; i += 1) handles[i] = items[i].handle
    const logs = this.logPopularity(handles)
    for (let i = 0; i < n; i += 1) vectors[(i + 1) * this.indexDim - 1] = logs[i]
    return vectors
  }

  /** As of the newest event: on a stream at rest, popularity rests too. */
  logPopularity(handles: Int32Array): Float32Array {
    const logs = new Float32Array(handles.length)
    const at = { time: this.facts.time, smoothing: this.#smoothing }
    this.facts.catalogue.logPopularity(handles, at, logs)
    return logs
  }

  /** Rows of a table, for comparing with the trainer's. */
  table(name: string): MemoryTable {
    return present(this.#tables.get(name), `table ${name}`).rows
  }

  close(): Promise<void> {
    return this.#model.close()
  }

  *#assign(table: ReplicaTable, part: TableDelta): Generator<Int32Array> {
    const stamp = { time: this.#resyncs * resyncMs, version: this.#resyncs }
    const { rows } = table
    for (const [keys, vectors] of rowPiecesOf(part)) {
      const isFull = rows.size + keyCount(keys) > rows.spec.capacityRows
      if (isFull && this.#isResyncing) yield* this.#dropOld(table)
      rows.assign(keys, vectors, stamp)
      table.resync = this.#resyncs
      yield this.#ownersOf(table, keys)
    }
  }

  *#endResync(): Generator<Int32Array> {
    for (const table of this.#tables.values()) yield* this.#dropOld(table)
    this.#isResyncing = false
  }

  /** Rows that this resync has not brought, some at a time. */
  *#dropOld(table: ReplicaTable): Generator<Int32Array> {
    const { rows, resync } = table
    if (resync < this.#resyncs) rows.clear()
    do yield this.#ownersOf(table, rows.restrictSome(onlyExpired))
    while (rows.isRestricting)
  }

  #fill(lookups: readonly Lookup[]): void {
    for (const { table, keys, rows } of lookups) this.#reader.find(this.table(table), keys, rows)
  }

  /** The towers' vectors with a place for popularity, 0 where the model has none. */
  #withPopularity(vectors: Float32Array, n: number): Float32Array {
    const { outputDim } = this.#model
    if (outputDim === this.indexDim) return vectors.slice()
    const wider = new Float32Array(n * this.indexDim)
    for (let i = 0; i < n; i += 1) {
      wider.set(vectors.subarray(i * outputDim, (i + 1) * outputDim), i * this.indexDim)
    }
    return wider
  }

  #own(item: Item): void {
    for (const { table, keys } of this.#model.itemRows(item.id)) {
      this.#tables.get(table)?.items?.set(keys, Uint32Array.of(item.handle))
    }
  }

  #disown(id: string): void {
    for (const { table, keys } of this.#model.itemRows(id)) {
      this.#tables.get(table)?.items?.erase(keys)
    }
  }

  #ownersOf({ items }: ReplicaTable, keys: Keys): Int32Array {
    if (items === undefined) return new Int32Array(0)
    const n = keyCount(keys)
    const payloads = n > rowsPerPiece ? new Uint32Array(n) : this.#payloads.subarray(0, n)
    if (items.find(keys, payloads) === 0) return new Int32Array(0)
    return Int32Array.from(payloads.filter((handle) => handle !== absentPayload))
  }
}

/** Whether an item's vector is made of rows that other items' are made of, too. */
function sharesRows({ model, tables }: ReplicaOptions): boolean {
  const sharing = tablesThatShare(tables)
  return model.candidate.features.some(
    (feature) =>
      'table' in feature &&
      feature.table !== undefined &&
      (feature.kind !== 'id' || sharing.has(feature.table)),
  )
}

function tablesOf(options: ReplicaOptions, items: number): Map<string, ReplicaTable> {
  const { model, tables, implementation = 'wasm' } = options
  const withItemIds = new Set(
    model.candidate.features.flatMap((feature) => (feature.kind === 'id' ? [feature.table] : [])),
  )
  return new Map(
    tables.map((spec) => {
      const capacity = Math.ceil(items * 1.1)
      return [
        spec.name,
        {
          rows: new MemoryTable(spec, { implementation, stateless: true }),
          items: withItemIds.has(spec.name)
            ? new KeyIndex({ capacity, implementation })
            : undefined,
          resync: 0,
        },
      ]
    }),
  )
}

function* piecesOf(keys: Keys): Generator<Keys> {
  for (let from = 0; from < keys.length; from += 2 * rowsPerPiece) {
    yield keys.subarray(from, from + 2 * rowsPerPiece)
  }
}

function* rowPiecesOf({ keys, vectors, dim }: TableDelta): Generator<[Keys, Float32Array]> {
  let from = 0
  for (const piece of piecesOf(keys)) {
    const n = keyCount(piece)
    yield [piece, vectors.subarray(from * dim, (from + n) * dim)]
    from += n
  }
}
