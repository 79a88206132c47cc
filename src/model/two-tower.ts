/**
 * The model as the trainer and the replica use it: two towers over embedding rows that the caller
 * fetches. It owns no table: it says which keys it needs, the caller fills their rows in, and after a
 * step it leaves a gradient for each.
 *
 *     for (const lookup of model.prepareStep(queries, items)) table(lookup).findOrInsert(lookup.keys, lookup.rows, stamp)
 *     const { loss } = model.step(batch)
 *     if (guard accepts) { for (const lookup of lookups) table.applyGradients(...); model.update() }
 *
 * Everything handed out is a view into one memory reserved at start, valid until the next `prepare*`.
 */
import type { Keys } from '../base/keys.ts'
import type { ItemInput, QueryInput } from './inputs.ts'
import type { ModelSpec } from './spec.ts'

/** The rows that a batch needs of one table; one lookup per table of the model that it touches. */
export interface Lookup {
  readonly table: string
  readonly dim: number
  /** Distinct keys (n). */
  readonly keys: Keys
  /** n x dim: to be filled by the caller before `step` or `embed*`. */
  readonly rows: Float32Array
  /** How often each key takes part in the batch (n). */
  readonly occurrences: Uint32Array
  /**
   * n x dim: filled by `step`, of the summed or the mean loss as the table's spec says. Empty after
   * `prepareQueries` and `prepareItems`.
   */
  readonly gradients: Float32Array
}

/** What a step needs beside queries and columns. B queries, C columns, in the order of `prepareStep`. */
export interface StepBatch {
  /** The column of each query's positive, -1: not trained on (B). */
  readonly targets: Int32Array
  /** Weight of each example (B); the loss is the weighted mean. */
  readonly weights: Float32Array
  /** Added to every score of a column: minus the log of its sampling probability, its multiplicity folded in (C). */
  readonly corrections: Float32Array
  /** Added instead where the column is the query's own positive (B). */
  readonly targetCorrections: Float32Array
  /** Log popularity of each column (C); may be empty in a model without popularity. */
  readonly popularity: Float32Array
  /** (query, column) pairs that are no negatives: seen items, accidental hits. Flat, 2 per pair. */
  readonly masked: Int32Array
  /** (query, column) pairs whose item alone is pulled towards the query by the spec's `newItemPull`. */
  readonly pulls: Int32Array
}

export interface StepResult {
  /** Weighted mean cross-entropy; 0 when no example has weight. */
  readonly loss: number
  /** Sum of the weights behind it. */
  readonly weight: number
  /** L2 norm of all dense gradients; not finite when anything went wrong. */
  readonly gradientNorm: number
  /** L2 norm of all row gradients, as left in the lookups; not finite when anything went wrong. */
  readonly rowGradientNorm: number
}

/** Keys of one table. */
export interface TableKeys {
  readonly table: string
  readonly keys: Keys
}

/** Where a step stands, for whoever times it. */
export type StepStage = 'keys' | 'forward' | 'loss' | 'backward' | 'idle'

export interface TwoTowerOptions {
  /** Most queries in one `prepare*`: the batch, or the queries embedded together. */
  readonly maxQueries: number
  /** Most items in one `prepare*`: columns of a step, or items embedded together. */
  readonly maxItems: number
  /** Results do not depend on it. Default 1. */
  readonly threads?: number
  /** Default 'wasm'. */
  readonly implementation?: 'wasm' | 'reference'
  /** Called as each stage begins; for benchmarks. */
  readonly onStage?: (stage: StepStage) => void
}

export class TwoTower {
  readonly spec: ModelSpec
  /** Floats per vector in the index: spec.dim, and one more with popularity. */
  readonly outputDim: number

  private constructor(spec: ModelSpec) {
    this.spec = spec
    this.outputDim = spec.dim + (spec.score.popularity === undefined ? 0 : 1)
  }

  /** Checks the spec (`CONFIG_INVALID`), reserves memory, starts threads. Dense weights are seeded. */
  static create(spec: ModelSpec, _options: TwoTowerOptions): Promise<TwoTower> {
    return Promise.resolve(new TwoTower(spec))
  }

  /** Ends the threads. */
  close(): Promise<void> {
    return notYet()
  }

  /** The rows that training on these needs. Candidates are distinct items: the columns of the scores. */
  prepareStep(
    _queries: readonly QueryInput[],
    _candidates: readonly ItemInput[],
  ): readonly Lookup[] {
    return notYet()
  }

  /**
   * Loss and gradients of the batch prepared last, with the rows now in its lookups. Touches no
   * weights: `update` does, once the caller is content with the result.
   */
  step(_batch: StepBatch): StepResult {
    return notYet()
  }

  /** Applies the dense gradients of the last step, once. */
  update(): void {
    notYet()
  }

  /** The rows that embedding these needs; then fill them and call `embedQueries`. */
  prepareQueries(_queries: readonly QueryInput[]): readonly Lookup[] {
    return notYet()
  }

  /**
   * n x outputDim, already divided by the temperature, the last float w when there is popularity:
   * score = dot(query, item).
   */
  embedQueries(): Float32Array {
    return notYet()
  }

  prepareItems(_items: readonly ItemInput[]): readonly Lookup[] {
    return notYet()
  }

  /** n x outputDim; with popularity the last float is the item's log popularity as given, else 0. */
  embedItems(_logPopularity?: Float32Array): Float32Array {
    return notYet()
  }

  /** Every key that an item's vector depends on: a changed row of one of these changes the vector. */
  itemKeys(_item: ItemInput): readonly TableKeys[] {
    return notYet()
  }

  /** The rows that are this user's alone, in every table: what a deletion erases. */
  userRows(_userId: string): readonly TableKeys[] {
    return notYet()
  }

  /** The rows that are this item's alone, in every table: what a deletion erases. */
  itemRows(_itemId: string): readonly TableKeys[] {
    return notYet()
  }

  /** All dense weights, flat (a copy), followed by the optimizer's state when asked for. */
  weights(_options?: { readonly optimizerState: boolean }): Float32Array<ArrayBuffer> {
    return notYet()
  }

  /** Takes what `weights` gave; without state, the optimizer starts fresh. Throws `WEIGHTS_INVALID`. */
  load(_weights: Float32Array): void {
    notYet()
  }
}

function notYet(): never {
  throw new Error('not built yet')
}
