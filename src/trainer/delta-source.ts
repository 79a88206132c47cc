/**
 * What readers are told of the parameters: a delta with the rows that have changed since the one
 * before, or everything, in pieces. Rows go as they are when the delta is made, so changes in
 * between are coalesced.
 */
import type { Keys } from '../base/keys.ts'
import type { DurableTable } from '../embedding/durable-table.ts'
import type { TableChanges } from '../embedding/embedding-table.ts'
import type { TwoTower } from '../model/two-tower.ts'
import type { Delta, TableDelta, Watermark } from '../sync/delta.ts'
import type { Tables } from './rows.ts'

export interface DeltaSourceOptions {
  readonly model: TwoTower
  readonly tables: Tables
}

/** Where the trainer stands as a delta is made. */
export interface DeltaStamp {
  readonly modelVersion: number
  readonly watermark: Watermark
  /** Epoch ms. */
  readonly publishedAt: number
}

const noKeys: Keys = new Uint32Array(0)

export class DeltaSource {
  readonly #options: DeltaSourceOptions
  /** Starts at 1: who has nothing, 0, is given a snapshot first. */
  #sequence = 1
  /** What readers have is of no use any more. */
  #isVoid = false
  /** Of the newest delta; weights go again only when a batch was trained since. */
  #version = -1

  constructor(options: DeltaSourceOptions) {
    this.#options = options
  }

  /** Of the newest delta. */
  get sequence(): number {
    return this.#sequence
  }

  /** Every reader is to take everything anew: rows have gone back, nobody says which. */
  void(): void {
    this.#isVoid = true
  }

  /** Whether so many rows of any table have changed since the last call of `take`. */
  hasChanged(rows: number): boolean {
    return [...this.#options.tables.values()].some((table) => table.hasChanged(rows))
  }

  /** What has changed since the last call. */
  async take(stamp: DeltaStamp): Promise<Delta> {
    const { model, tables } = this.#options
    const changes: TableChange[] = []
    for (const [name, table] of tables) {
      changes.push({ name, table, rows: await table.takeChanges() })
    }
    // Removals beyond a table's memory: the reader starts from nothing and asks for the rest.
    const isVoid = this.#isVoid || changes.some(({ rows }) => rows.resync)
    this.#isVoid = false
    if (isVoid) return this.#restart(stamp)
    const weights = stamp.modelVersion === this.#version ? {} : { weights: model.weights() }
    this.#version = stamp.modelVersion
    const moved = changes.filter(({ rows }) => rows.changed.length + rows.removed.length > 0)
    const deltas: TableDelta[] = []
    for (const change of moved) deltas.push(await tableDelta(change))
    this.#sequence += 1
    const sequence = this.#sequence
    return { sequence, base: sequence - 1, ...stamp, tables: deltas, ...weights }
  }

  /**
   * Everything, in pieces of bounded size that all carry the present sequence; see
   * `ParameterPublisher.onResync`. Changes not yet taken are in it and in the next delta.
   */
  async *snapshot(stamp: DeltaStamp): AsyncGenerator<Delta> {
    const { model, tables } = this.#options
    const sequence = this.#sequence
    yield { sequence, base: 0, ...stamp, tables: [], weights: model.weights() }
    for (const [name, table] of tables) {
      const { dim } = table.spec
      for await (const { keys, vectors } of table.export()) {
        const rows = { table: name, dim, keys, vectors, removed: noKeys }
        yield { sequence, base: sequence, ...stamp, tables: [rows] }
      }
    }
  }

  /** A delta that builds on a sequence that no reader has: each asks for a snapshot. */
  #restart(stamp: DeltaStamp): Delta {
    this.#sequence += 2
    return { sequence: this.#sequence, base: this.#sequence - 1, ...stamp, tables: [] }
  }
}

interface TableChange {
  readonly name: string
  readonly table: DurableTable
  readonly rows: TableChanges
}

async function tableDelta({ name, table, rows }: TableChange): Promise<TableDelta> {
  const { dim } = table.spec
  const { changed: keys, removed } = rows
  const vectors = new Float32Array((keys.length / 2) * dim)
  await table.find(keys, vectors)
  return { table: name, dim, keys, vectors, removed }
}
