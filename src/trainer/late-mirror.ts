/**
 * A mirror of the catalogue for an evaluation that ranks as queries are answered elsewhere: with
 * parameters that arrive in deltas, one every so much stream time. What is late is only what was
 * learned: which items there are, how popular they are and what users did is known at once.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { Item } from '../stream/example.ts'
import type { Catalogue } from '../stream/facts/catalogue.ts'
import type { BatchEffects, CatalogueMirror, Mirror } from './catalogue-mirror.ts'
import type { DeltaSource } from './delta-source.ts'
import type { DeltaReader } from './evaluation/delta-reader.ts'
import type { Ranker } from './evaluation/ranker.ts'

export interface LateMirrorOptions {
  /** Its ranker embeds with the reader's parameters. */
  readonly mirror: CatalogueMirror
  readonly source: DeltaSource
  readonly reader: DeltaReader
  /** Stream time between two deltas, in milliseconds; 0: one after every batch. */
  readonly intervalMs: number
}

export class LateMirror implements Mirror {
  readonly #options: LateMirrorOptions
  /** Whose rows may have changed since the last delta, by handle. */
  readonly #moved = new Map<number, Item>()
  readonly #shrunk = new Set<string>()
  #batches = 0
  #deliveredAt = -Infinity

  constructor(options: LateMirrorOptions) {
    this.#options = options
  }

  get ranker(): Ranker {
    return this.#options.mirror.ranker
  }

  prepare(...given: Parameters<Mirror['prepare']>): Promise<void> {
    return this.#options.mirror.prepare(...given)
  }

  async follow(catalogue: Catalogue, effects: BatchEffects, evaluates: boolean): Promise<void> {
    const { mirror, source, reader, intervalMs } = this.#options
    const { time } = effects
    this.#batches += 1
    this.#collect(effects)
    if (time - this.#deliveredAt < intervalMs) {
      const untaught = { ...effects, examples: [], columns: [], shrunk: [] }
      return mirror.follow(catalogue, untaught, evaluates)
    }
    const watermark = { offsets: {}, acceptedAt: time }
    await reader.catchUp(source, { modelVersion: this.#batches, watermark, publishedAt: time })
    const [columns, shrunk] = [[...this.#moved.values()], [...this.#shrunk]]
    this.#moved.clear()
    this.#shrunk.clear()
    this.#deliveredAt = time
    return mirror.follow(catalogue, { ...effects, examples: [], columns, shrunk }, evaluates)
  }

  /** Rows have gone back: the next delta brings everything. */
  invalidate(): void {
    this.#options.source.void()
    this.#options.mirror.invalidate()
  }

  rebuild(catalogue: Catalogue, time: number): void {
    this.#options.mirror.rebuild(catalogue, time)
  }

  serialize(writer: ByteWriter): void {
    this.#options.mirror.serialize(writer)
  }

  load(reader: ByteReader): void {
    this.#options.mirror.load(reader)
  }

  async close(): Promise<void> {
    await this.#options.mirror.close()
    await this.#options.reader.close()
  }

  #collect({ examples, columns, removed, shrunk }: BatchEffects): void {
    for (const item of columns) this.#moved.set(item.handle, item)
    for (const { query } of examples) {
      for (const { item } of query.history) this.#moved.set(item.handle, item)
    }
    for (const handle of removed) this.#moved.delete(handle)
    for (const table of shrunk) this.#shrunk.add(table)
  }
}
