/**
 * Keeps the ranker's candidates equal to the live catalogue: which items there are, how often they
 * are clicked, and their vectors by the rows as they are between two batches. Where the candidate
 * tower has no weights of its own and every item its own rows, only the items are embedded again
 * whose rows a batch has changed; else all of them, before the next evaluation.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { FeatureSpec, ModelSpec } from '../model/spec.ts'
import type { Example, Item } from '../stream/example.ts'
import type { Catalogue } from '../stream/facts/catalogue.ts'
import type { Eviction, Facts } from '../stream/facts/facts.ts'
import type { Ranker } from './evaluation/ranker.ts'

/** What a batch did, as far as candidates are concerned. */
export interface BatchEffects {
  readonly examples: readonly Example[]
  /** The columns of the step: their rows have moved. */
  readonly columns: readonly Item[]
  /** Handles of the items interacted with. */
  readonly touched: readonly number[]
  /** Items created or changed. */
  readonly changed: readonly Item[]
  /** Handles of the items that are gone. */
  readonly removed: readonly number[]
  /** Tables that evicted rows: vectors made of them can no longer be trusted. */
  readonly shrunk: readonly string[]
  /** Stream time, epoch ms. */
  readonly time: number
}

/** What a learner asks of a mirror. */
export type Mirror = Pick<
  CatalogueMirror,
  'ranker' | 'prepare' | 'follow' | 'invalidate' | 'rebuild' | 'serialize' | 'load' | 'close'
>

export class CatalogueMirror {
  readonly #ranker: Ranker
  readonly #isIncremental: boolean
  readonly #sharesRows: boolean
  /** That candidates are made of. */
  readonly #tables: ReadonlySet<string>
  /** Every vector has to be embedded again. */
  #isStale = true
  /** By handle: the batch that has it in its list already. */
  readonly #marks: Float64Array
  #mark = 0
  readonly #one = new Int32Array(1)
  readonly #count = new Float32Array(1)

  /** `sharing`: names of the tables in which keys without a row of their own share one. */
  constructor(ranker: Ranker, spec: ModelSpec, sharing: ReadonlySet<string>) {
    this.#ranker = ranker
    this.#marks = new Float64Array(ranker.candidates.capacity)
    this.#tables = new Set(spec.candidate.features.flatMap((feature) => tableOf(feature) ?? []))
    this.#isIncremental = hasRowsOfItsOwn(spec) && this.#tables.isDisjointFrom(sharing)
    // Whether the query side moves rows that candidates are made of.
    this.#sharesRows = spec.query.features.some((one) => this.#tables.has(tableOf(one) ?? ''))
  }

  get ranker(): Ranker {
    return this.#ranker
  }

  /**
   * Before an evaluation: vectors that were left behind, and popularity as of now. `gone`: what the
   * batch removes, of which there are no vectors any more.
   */
  async prepare(
    { catalogue, time }: Pick<Facts, 'catalogue' | 'time'>,
    gone: readonly Eviction[],
  ): Promise<void> {
    for (const { of, handle } of gone) {
      if (of === 'item' && handle >= 0) this.#ranker.candidates.remove(handle)
    }
    if (this.#isStale) {
      const { candidates } = this.#ranker
      const items: Item[] = []
      for (let slot = 0; slot < candidates.size; slot += 1) {
        const item = catalogue.byHandle(candidates.handle(slot))
        if (item !== undefined) items.push(item)
      }
      await this.#ranker.put(items)
      this.#isStale = false
    }
    this.#ranker.moveTo(time)
  }

  /**
   * After a batch. `evaluates`: an evaluation follows soon, so that vectors are worth keeping up to
   * date; else they are left to the next `prepare`.
   */
  async follow(catalogue: Catalogue, effects: BatchEffects, evaluates: boolean): Promise<void> {
    const { candidates } = this.#ranker
    for (const handle of effects.removed) candidates.remove(handle)
    for (const { handle } of effects.changed) this.#join(catalogue, handle, effects.time)
    for (const handle of effects.touched) this.#join(catalogue, handle, effects.time)
    const hasShrunk = effects.shrunk.some((table) => this.#tables.has(table))
    if (!evaluates || hasShrunk || !this.#isIncremental) this.#isStale = true
    if (!this.#isStale) await this.#ranker.put(this.#moved(catalogue, effects))
  }

  /** Rows have changed, nobody says which. */
  invalidate(): void {
    this.#isStale = true
  }

  /** Everything anew: for a state that was saved by a trainer that evaluated nothing. */
  rebuild(catalogue: Catalogue, time: number): void {
    for (const { handle } of catalogue.items()) this.#join(catalogue, handle, time)
    this.#isStale = true
  }

  serialize(writer: ByteWriter): void {
    this.#ranker.serialize(writer)
  }

  load(reader: ByteReader): void {
    this.#ranker.load(reader)
    this.#isStale = true
  }

  close(): Promise<void> {
    return this.#ranker.close()
  }

  /** Makes a live item a candidate with its present count, and a hidden one none. */
  #join(catalogue: Catalogue, handle: number, time: number): void {
    const item = catalogue.byHandle(handle)
    if (item === undefined) return
    const { candidates } = this.#ranker
    if (item.hidden) {
      candidates.remove(handle)
      return
    }
    candidates.add(handle)
    this.#one[0] = handle
    catalogue.decayedCounts(this.#one, time, this.#count)
    candidates.setCount(handle, this.#count[0], time)
  }

  /** Candidates whose vector may be another than before the batch, each once. */
  #moved(catalogue: Catalogue, { examples, columns, touched, changed }: BatchEffects): Item[] {
    const items: Item[] = []
    this.#mark += 1
    const add = (handle: number): void => {
      if (this.#marks[handle] === this.#mark) return
      this.#marks[handle] = this.#mark
      const item = catalogue.byHandle(handle)
      if (item !== undefined && !item.hidden) items.push(item)
    }
    for (const { handle } of columns) add(handle)
    for (const { handle } of changed) add(handle)
    for (const handle of touched) add(handle)
    if (this.#sharesRows) {
      for (const { query } of examples) for (const { item } of query.history) add(item.handle)
    }
    return items
  }
}

/** Whether a candidate's vector depends on no weights and on no rows but its own. */
function hasRowsOfItsOwn({ candidate }: ModelSpec): boolean {
  return (
    candidate.layers.length === 0 &&
    candidate.combine === 'concat' &&
    candidate.features.every(({ kind }) => kind === 'id')
  )
}

const tableOf = (feature: FeatureSpec): string | undefined =>
  'table' in feature ? feature.table : undefined
