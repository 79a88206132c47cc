/**
 * What a model is, as declared in the configuration: features, towers, score, loss. Everything here
 * is part of the model and must be equal in every process.
 */
/** How the vectors of one feature's keys become one: see Embedding lookups in docs. */
type Combiner = 'sum' | 'mean' | 'sqrtn' | 'max'

export type FeatureSpec =
  /**
   * One key: the user's or item's own id. `dropout`: the share of a batch's users or items that are
   * taken for unknown ones, and read and move the row that unknown ids share; in a table in which
   * they do share one.
   */
  | {
      readonly kind: 'id'
      readonly name: string
      readonly table: string
      readonly dropout?: number
    }
  /**
   * A list of strings (or one) among the features of the user or item. `weights`: the field of what
   * each counts, numbers at the same places; one that is not there counts 1, and what is no number
   * above 0 counts nothing. Not with `max`.
   */
  | {
      readonly kind: 'categories'
      readonly name: string
      readonly field: string
      readonly table: string
      readonly combine: Combiner
      readonly weights?: string
    }
  /** Lower-cased words and word n-grams, hashed. */
  | {
      readonly kind: 'text'
      readonly name: string
      readonly field: string
      readonly table: string
      readonly maxTokens: number
      readonly ngrams: number
    }
  /**
   * A number: passed on as (transform(value), 0), or (0, 1) when missing; with `boundaries` and a
   * table instead the key of its bucket. `zscore` and `quantile` measure the stream: the first is
   * the value less the mean over the deviation so far; the second a 1 in the column of its bucket
   * of `buckets`, each of which has as many values, and behind them the column of a missing one.
   * Both come before `offset` and `scale`, which `quantile` does without.
   */
  | {
      readonly kind: 'numeric'
      readonly name: string
      readonly field: string
      readonly transform: 'linear' | 'log1p' | 'zscore' | 'quantile'
      readonly offset: number
      readonly scale: number
      /** Of `quantile`; default 16. */
      readonly buckets?: number
      readonly table?: string
      readonly boundaries?: readonly number[]
    }
  /**
   * The user's last `length` distinct items. `learned`: one weight for each position and bucket of
   * the time since the newest, starting at 1/position; `mean`: equal weights; `attention`: a
   * softmax over the items, of each one's dot product with a learned vector plus a learned number
   * by position, starting as 1/position. `typeWeights` and `ageHalfLifeMs` multiply an item's
   * weight by that of its interaction's type (`other`: any not named) and by half for each such
   * time that has passed since; means and attention are over what is left. `of`: the candidate's
   * feature whose keys stand for an item, each for an equal part of it; absent: the item's id.
   */
  | {
      readonly kind: 'sequence'
      readonly name: string
      readonly table: string
      readonly length: number
      readonly weights: 'learned' | 'mean' | 'attention'
      readonly gapBoundariesMs: readonly number[]
      readonly typeWeights?: Readonly<Record<string, number>>
      readonly ageHalfLifeMs?: number
      readonly of?: string
    }
  /** A vector of the user's or item's own, as it comes, and a 1 where there is none. */
  | {
      readonly kind: 'dense'
      readonly name: string
      readonly field: string
      readonly dim: number
      readonly table?: undefined
    }
  /**
   * Where a time stands in each period: sine and cosine of `harmonics` waves. Of the event or
   * request; with a `field` of the epoch ms in that, and a 1 where there is none.
   */
  | {
      readonly kind: 'time'
      readonly name: string
      readonly field?: string
      readonly periodsMs: readonly number[]
      readonly harmonics: number
      readonly table?: undefined
    }
  /** One value of the request's or event's context. */
  | {
      readonly kind: 'context'
      readonly name: string
      readonly field: string
      readonly table: string
    }
  /** The bucket of the time since the user's newest item; no history is a bucket of its own. */
  | {
      readonly kind: 'gap'
      readonly name: string
      readonly table: string
      readonly boundariesMs: readonly number[]
    }

type Activation = 'linear' | 'relu' | 'gelu' | 'tanh'

export type LayerSpec =
  /** y = activation(x W + b). */
  | { readonly kind: 'dense'; readonly units: number; readonly activation: Activation }
  /** y = x + activation(x W1 + b) W2, with W2 starting at zero. */
  | { readonly kind: 'residual'; readonly units: number; readonly activation: Activation }
  /**
   * y = x0 (x W + b + diagScale x) + x, element by element but the product (Wang et al. 2021,
   * "DCN V2"); x0 is what entered the first of the cross layers that follow each other. With
   * `projectionDim` W is the product of two matrices of that rank.
   */
  | { readonly kind: 'cross'; readonly projectionDim?: number; readonly diagScale: number }
  /** Every row to mean 0 and variance 1, times a learned gain, plus a learned bias. */
  | { readonly kind: 'layerNorm' }
  /** In training that share of the elements is 0, and the others grow by as much. */
  | { readonly kind: 'dropout'; readonly rate: number }

export interface TowerSpec {
  readonly features: readonly FeatureSpec[]
  /** `concat`: features side by side; `sum`: all of the tower's dim, added, plus a learned bias. */
  readonly combine: 'concat' | 'sum'
  readonly layers: readonly LayerSpec[]
  /**
   * Path of a TensorFlow.js LayersModel (model.json) that stands in the place of `layers`, of which
   * there are then none; for the engine `tfjs`.
   */
  readonly layersModel?: string
  /** L2 normalisation of the output, of each head for itself. */
  readonly normalize: boolean
  /**
   * Vectors that a query is, side by side in the tower's output, `dim` floats each: its score with
   * an item is the largest of theirs. Absent: one. Of the query tower alone.
   */
  readonly heads?: number
}

/** score = q . c / temperature + w(context) log(popularity), see docs/architecture.md. */
interface ScoreSpec {
  readonly temperature: number
  readonly popularity?: {
    readonly halfLifeMs: number
    /** Added to the decayed count before the logarithm. */
    readonly smoothing: number
    /** w of every query before any learning. */
    readonly initialWeight: number
    /** Learned offsets to w: features of the query side over tables of dim 1, summed. */
    readonly features: readonly FeatureSpec[]
  }
}

export interface LossSpec {
  /**
   * Dense weights, and rows of tables whose `gradients` are `mean`, learn from the mean over the
   * weights of a batch (absent), so that a rate does not depend on its size, or from the sum.
   */
  readonly reduction?: 'mean' | 'sum'
  /**
   * Of a positive among its negatives: cross-entropy of the softmax over all (absent); logistic
   * regression of the positive, and of the negatives in the mean (`sigmoid`; with corrections their
   * logits mean nothing, so `none` suits it); or of their differences (`bpr`: Rendle et al. 2009).
   */
  readonly kind?: 'softmax' | 'sigmoid' | 'bpr'
  /** Only so many negatives of a positive count, those with the largest logits; absent: all. */
  readonly hardNegatives?: number
  /**
   * Sampling correction of every column: `logq` subtracts the log of the streaming estimate of its
   * sampling probability; `inclusion` the log of the probability that it is among the negatives
   * (1 for the batch's targets); `none` nothing.
   */
  readonly correction: 'logq' | 'inclusion' | 'none'
  /** Whether the other targets of the batch are negatives; without, only the extra ones are. */
  readonly inBatch: boolean
  /** Draws from the active catalogue, shared by the batch. */
  readonly extraNegatives: number
  /** The power of an item's interactions, plus one, by which it is drawn; absent: 0, uniformly. */
  readonly negativesAlpha?: number
  /** An item is active when described or interacted with within this window. */
  readonly activeWindowMs: number
  /** Items that the user has seen are no negatives, and a repeat is not trained on. */
  readonly maskSeen: boolean
  /**
   * The first interaction of a new item pulls only the item's vector, by this much; 0: trained as
   * any. For items that have nothing but their ids: words and categories, which others share, would
   * be pulled alone too, and a catalogue most of which is new falls into one direction.
   */
  readonly newItemPull: number
  /** L2 penalty on both towers' outputs, per example; 0: none. */
  readonly l2: number
  /** Weight of an example by interaction type; a type not named has `other`. */
  readonly typeWeights: Readonly<Record<string, number>>
  /**
   * Types that speak against their item, with weights: such an example is no positive. Its item is
   * pushed away from its query, by logistic regression of q . c / temperature.
   */
  readonly negativeTypes?: Readonly<Record<string, number>>
}

/** What every learning rate is multiplied by in a step, counted from 1. */
export interface ScheduleSpec {
  /** Rises to 1 in so many steps; 0: is 1 from the first. */
  readonly warmupSteps: number
  /**
   * After these: down to `floor` in `decaySteps`, in a straight line or along a cosine; or halved
   * in every `decaySteps` (`exponential`), or by 1 / sqrt(1 + steps / decaySteps), never below
   * `floor`.
   */
  readonly decay: 'none' | 'linear' | 'cosine' | 'exponential' | 'inverseSqrt'
  readonly decaySteps: number
  readonly floor: number
  /** Of the dense weights, or of rows as well. */
  readonly of: 'dense' | 'all'
}

/** Of dense weights; gradients are of the mean loss, or of the sum: see `LossSpec`. */
export type DenseOptimizerSpec =
  | { readonly kind: 'sgd'; readonly rate: number }
  | {
      readonly kind: 'momentum'
      readonly rate: number
      readonly momentum: number
      readonly nesterov: boolean
    }
  /** Adagrad whose accumulators are multiplied by `decay` every `decaySteps` steps. */
  | {
      readonly kind: 'adagradDecay'
      readonly rate: number
      readonly initialAccumulator: number
      readonly epsilon: number
      readonly decay: number
      readonly decaySteps: number
    }
  | {
      readonly kind: 'rmsprop'
      readonly rate: number
      readonly rho: number
      readonly epsilon: number
    }
  /** Tang et al. 2023: Adagrad's step, shrunk until no weight moves by more than it may. */
  | {
      readonly kind: 'clippyAdagrad'
      readonly rate: number
      readonly initialAccumulator: number
      readonly epsilon: number
      readonly relativeThreshold: number
      readonly accumulatorThreshold: number
      readonly absoluteThreshold: number
    }
  | {
      readonly kind: 'adagrad'
      readonly rate: number
      readonly initialAccumulator: number
      readonly epsilon: number
    }
  | {
      readonly kind: 'adam'
      readonly rate: number
      readonly beta1: number
      readonly beta2: number
      readonly epsilon: number
    }

export interface ModelTableSpec {
  readonly name: string
  readonly dim: number
  /** Whether its rows get the gradient of the summed loss of the batch or of the mean. */
  readonly optimizer: { readonly gradients: 'sum' | 'mean' }
}

/**
 * What computes the towers and the loss, see docs/model.md. `auto`: `tfjs` where it has a GPU, else
 * `wasm`.
 */
export type EngineName = 'wasm' | 'tfjs' | 'auto'

export interface ModelSpec {
  /** Absent: `wasm`. Engines agree to rounding, so it may change from start to start. */
  readonly engine?: EngineName
  readonly seed: number
  /** Of the two towers' outputs. */
  readonly dim: number
  readonly tables: readonly ModelTableSpec[]
  readonly query: TowerSpec
  readonly candidate: TowerSpec
  readonly score: ScoreSpec
  readonly loss: LossSpec
  readonly denseOptimizer: DenseOptimizerSpec
  /** Absent: rates stay as they are. */
  readonly schedule?: ScheduleSpec
}
