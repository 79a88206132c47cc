/**
 * The parameters as a reader of deltas has them: a second model and tables of vectors alone, that
 * change only when a delta is applied. What a replica is to queries this is to an evaluation that
 * is to rank as they are answered.
 */
import { present } from '../../base/assert.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import type { KernelImplementation } from '../../kernels/kernels.ts'
import type { ModelSpec } from '../../model/spec.ts'
import { TwoTower } from '../../model/two-tower.ts'
import { decodeDelta, encodeDelta } from '../../sync/delta-codec.ts'
import type { Delta } from '../../sync/delta.ts'
import type { DeltaSource, DeltaStamp } from '../delta-source.ts'
import type { Tables } from '../rows.ts'

export interface DeltaReaderOptions {
  readonly spec: ModelSpec
  readonly tables: readonly TableSpec[]
  /** Queries and items that are embedded in one call. */
  readonly maxQueries: number
  readonly maxItems: number
  readonly implementation: KernelImplementation
}

/** Invariant: what it holds is what the source had when it gave the delta of `#sequence`. */
export class DeltaReader {
  readonly model: TwoTower
  readonly #options: DeltaReaderOptions
  readonly #tables = new Map<string, MemoryTable>()
  #sequence = 0

  static async create(options: DeltaReaderOptions): Promise<DeltaReader> {
    const { spec, maxQueries, maxItems, implementation } = options
    const model = await TwoTower.create(spec, { maxQueries, maxItems, implementation })
    return new DeltaReader(options, model)
  }

  private constructor(options: DeltaReaderOptions, model: TwoTower) {
    this.#options = options
    this.model = model
    this.#empty()
  }

  /** The same map for ever; its tables are others after a resync. */
  get tables(): Tables {
    return this.#tables
  }

  /** Takes what has changed since the last call, or everything where that does not follow on. */
  async catchUp(source: DeltaSource, stamp: DeltaStamp): Promise<void> {
    const delta = await source.take(stamp)
    if (delta.base === this.#sequence) {
      this.#apply(delta)
      return
    }
    this.#empty()
    for await (const piece of source.snapshot(stamp)) this.#apply(piece)
  }

  close(): Promise<void> {
    return this.model.close()
  }

  #empty(): void {
    const { tables, implementation } = this.#options
    for (const spec of tables) {
      this.#tables.set(spec.name, new MemoryTable(spec, { implementation, stateless: true }))
    }
  }

  /** As bytes and back, as it would have come. */
  #apply(sent: Delta): void {
    const delta = decodeDelta(encodeDelta(sent))
    const stamp = { time: 0, version: delta.modelVersion }
    for (const { table: name, keys, vectors, removed } of delta.tables) {
      const table = present(this.#tables.get(name), name)
      table.erase(removed)
      table.assign(keys, vectors, stamp)
    }
    if (delta.weights !== undefined) this.model.load(delta.weights)
    this.#sequence = delta.sequence
  }
}
