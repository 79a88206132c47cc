/**
 * The loss of a batch on tensors and its gradients by the towers' outputs, written out: the same as
 * the built-in engine's (assembly/softmax-groups.ts), a tile of queries at a time.
 *
 * Popularity and corrections ride in the product of the scores as two more numbers of each vector,
 *
 *     (q / temperature, w, 1) . (c, log popularity, correction) = logit,
 *
 * and so do, for the softmax, the logit of the query's own positive, which is taken off all others,
 * and on the way back a 1 that sums their exponentials E:
 *
 *     loss = log(1 + sum of E over the other columns)
 *
 * The matrix of scores is passed over once, for its exponentials. What the own positive's column
 * has in it under the column's correction is known and taken off the sum; only masked columns are
 * written into the matrix.
 */
import type { Pushes, StepInput } from '../dense-engine.ts'
import type { LossSpec } from '../spec.ts'
import { lossBatch, type LossBatch } from './loss-batch.ts'
import type { Products } from './products.ts'
import type { Tensor, Tensorflow } from './tensorflow.ts'

/** The logit of what is no negative: its exponential is zero, and no sum of these overflows. */
const never = -1e30

export interface LossShape {
  readonly dim: number
  readonly loss: Pick<LossSpec, 'kind' | 'hardNegatives'>
  readonly popularity: boolean
  /** Logits that are there at once. */
  readonly tileFloats: number
}

/** Below it the logarithm of a probability is not taken: it may have come to nothing. */
const leastProbability = 1e-30
/** Above it sums of exponentials are computed once more, from the largest logit down. */
const largestSum = 1e30
/**
 * The own positive's exponential in the matrix may be so many times its own: what is taken off a
 * sum is not to leave rounding errors behind.
 */
const mostTakenOff = 128

/** Gradients are of the summed loss. */
export interface LossOutcome {
  readonly queries: Tensor
  readonly candidates: Tensor
  /** By the popularity's weight in each query. */
  readonly popularityWeights: Tensor | undefined
  /** Of all queries, weighted: one number. */
  readonly loss: Tensor
}

/** The vectors of a batch, and with what rides behind them. */
interface Operands {
  readonly batch: LossBatch
  /** B x dim, over the temperature, and as a factor of the scores. */
  readonly scaled: Tensor
  readonly queries: Tensor
  /** C x dim, with popularity one number more, and as a factor of the scores. */
  readonly vectors: Tensor
  readonly candidates: Tensor
  /** Of `vectors` each query's own positive, and its logit (B x 1). */
  readonly own: Tensor
  readonly ownLogits: Tensor
  /** B x 1. */
  readonly weights: Tensor
}

/** A tile's gradients by its columns' logits and by those of the own positives, and its losses. */
interface RowGradients {
  readonly columns: Tensor
  /** Rows x 1; what `columns` has of them already is not in it. */
  readonly own: Tensor
  readonly losses: Tensor
}

/** Of some rows, and of their own positives. */
interface Softmax {
  readonly logits: Tensor
  readonly probabilities: Tensor
  readonly own: Tensor
  readonly ofOwn: Tensor
}

/** Rows of a batch. */
interface Span {
  readonly from: number
  readonly rows: number
}

export class ClosedLoss {
  readonly #tf: Tensorflow
  readonly #products: Products
  readonly #shape: LossShape

  constructor(tf: Tensorflow, products: Products, shape: LossShape) {
    this.#tf = tf
    this.#products = products
    this.#shape = shape
  }

  /** `queries` and `candidates`: the towers' outputs. To be called in a `tidy`. */
  run(input: StepInput, queries: Tensor, candidates: Tensor): LossOutcome {
    const tf = this.#tf
    const { columns } = input
    const { dim } = this.#shape
    const operands = this.#operands(input, queries, candidates)
    const parts = spans(input.batch, this.#rowsPerTile(columns)).map((span) =>
      tf.tidy(() => this.#tile(operands, span)),
    )
    const whole = (key: 'queries' | 'own'): Tensor => {
      const tensors = parts.map((part) => part[key])
      return tensors.length === 1 ? tensors[0] : tf.concat(tensors, 0)
    }
    const gradients = whole('queries')
    const sums = parts.map((part) => part.candidates).reduce((a, b) => tf.add(a, b))
    const losses = parts.map((part) => part.loss).reduce((a, b) => tf.add(a, b))
    const ofColumns = tf.add(sums, this.#scattered(operands, whole('own'), input))
    const { popularity } = this.#shape
    const ofQueries = popularity ? tf.slice(gradients, [0, 0], [input.batch, dim]) : gradients
    const { pushes } = input
    const hasPushes = pushes !== undefined && pushes.weights.length > 0
    const pushed = hasPushes ? this.#pushed(operands, pushes) : undefined
    const scaled = pushed === undefined ? ofQueries : tf.add(ofQueries, pushed.queries)
    return {
      queries: this.#ofQueries(operands, scaled, input, queries),
      candidates: pushed === undefined ? ofColumns : tf.add(ofColumns, pushed.candidates),
      popularityWeights: popularity ? tf.slice(gradients, [0, dim], [input.batch, 1]) : undefined,
      loss: losses,
    }
  }

  #rowsPerTile(columns: number): number {
    return Math.max(1, Math.floor(this.#shape.tileFloats / columns))
  }

  /** With the plain softmax logits are of the own positive's less. */
  get #isPlain(): boolean {
    const { kind = 'softmax', hardNegatives } = this.#shape.loss
    return kind === 'softmax' && hardNegatives === undefined
  }

  #operands(input: StepInput, q: Tensor, c: Tensor): Operands {
    const tf = this.#tf
    const { columns, corrections, popularity, popularityWeights, temperature } = input
    const batch = lossBatch(input)
    const { rows, targets, targetCorrections } = batch
    const column = (values: Float32Array, n: number): Tensor =>
      tf.tensor(values.slice(0, n), [n, 1])
    const isPopular = this.#shape.popularity
    const scaled = temperature === 1 ? q : tf.mul(q, 1 / temperature)
    const vectors = isPopular ? tf.concat([c, column(popularity, columns)], 1) : c
    const ofPopularity = isPopular ? [column(popularityWeights, rows)] : []
    const weighted = isPopular ? tf.concat([scaled, ...ofPopularity], 1) : scaled
    const own = tf.gather(vectors, tf.tensor(targets, [rows], 'int32'))
    const products = tf.sum(tf.mul(weighted, own), 1, true)
    const ownLogits = tf.add(products, column(targetCorrections, rows))
    const ones = (n: number): Tensor => column(new Float32Array(n).fill(1), n)
    const [lessOwn, one] = this.#isPlain ? [[tf.neg(ownLogits)], [ones(columns)]] : [[], []]
    return {
      batch,
      scaled,
      queries: tf.concat([weighted, ones(rows), ...lessOwn], 1),
      vectors,
      candidates: tf.concat([vectors, column(corrections, columns), ...one], 1),
      own,
      ownLogits,
      weights: column(batch.weights, rows),
    }
  }

  #tile(operands: Operands, span: Span): TilePart {
    const tf = this.#tf
    const { ab, abT } = this.#products
    const place = { ...operands, span }
    const part = (x: Tensor): Tensor => rowsOf(tf, x, span, operands.batch.rows)
    const weights = part(operands.weights)
    const scores = abT(part(operands.queries), operands.candidates)
    const plain = this.#isPlain ? this.#plain(scores, place) : undefined
    if (plain !== undefined) return plain
    const rows = this.#rows(scores, part(operands.ownLogits), place)
    const ofColumns = tf.mul(ab(rows.columns, operands.vectors), weights)
    return this.#part(
      place,
      { ofColumns, columns: rows.columns, perRow: weights },
      {
        ofOwn: tf.mul(rows.own, weights),
        loss: tf.sum(tf.mul(rows.losses, weights)),
      },
    )
  }

  /**
   * The softmax by sums of exponentials, which the product on the way back gives with the rest;
   * nothing where one of them is too large.
   */
  #plain(scores: Tensor, place: TileOperands): TilePart | undefined {
    const tf = this.#tf
    const { batch, span, candidates, vectors } = place
    const { taken, isWritten } = takenOff(batch, span)
    const columns = tf.exp(isWritten ? this.#written(scores, place) : scores)
    const width = vectors.shape[1]
    const back = tf.split(this.#products.ab(columns, candidates), [width, 1, 1], 1)
    const rest = tf.tensor(taken, [span.rows, 1])
    const sums = tf.add(back[2], rest)
    if (!(tf.max(sums).dataSync()[0] < largestSum)) return undefined
    const weights = rowsOf(tf, place.weights, span, batch.rows)
    const perRow = tf.div(weights, sums)
    const ofColumns = tf.mul(back[0], perRow)
    return this.#part(
      place,
      { ofColumns, columns, perRow },
      {
        ofOwn: tf.sub(tf.mul(rest, perRow), weights),
        loss: tf.sum(tf.mul(tf.log(sums), weights)),
      },
    )
  }

  #part(
    { scaled, own, batch, span }: TileOperands,
    { ofColumns, columns, perRow }: Readonly<Record<'ofColumns' | 'columns' | 'perRow', Tensor>>,
    { ofOwn, loss }: Readonly<Record<'ofOwn' | 'loss', Tensor>>,
  ): TilePart {
    const tf = this.#tf
    const part = (x: Tensor): Tensor => rowsOf(tf, x, span, batch.rows)
    return {
      queries: tf.add(ofColumns, tf.mul(part(own), ofOwn)),
      // Transposed as a whole it takes half the time: the few numbers of a query are the rows.
      candidates: tf.transpose(this.#products.aTb(tf.mul(part(scaled), perRow), columns)),
      own: ofOwn,
      loss,
    }
  }

  #rows(scores: Tensor, own: Tensor, place: TilePlace): RowGradients {
    const { hardNegatives } = this.#shape.loss
    if (hardNegatives !== undefined) return this.#hardest(scores, own, place, hardNegatives)
    if (!this.#isPlain) return this.#pairwise(this.#written(scores, place), own)
    const zeros = this.#tf.zeros(own.shape)
    return this.#softmax(this.#written(scores, place, zeros), zeros, place)
  }

  /** Over all columns, the own positive in its own. */
  #softmax(logits: Tensor, own: Tensor, { batch, span }: TilePlace): RowGradients {
    const tf = this.#tf
    const { from, rows } = span
    const columns = tf.softmax(logits)
    const places = new Int32Array(2 * rows)
    for (let i = 0; i < rows; i += 1) {
      places[2 * i] = i
      places[2 * i + 1] = batch.targets[from + i]
    }
    const found = tf.gatherND(columns, tf.tensor(places, [rows, 2], 'int32'))
    const all = { logits, probabilities: columns, own, ofOwn: tf.reshape(found, [rows, 1]) }
    return { columns, own: tf.neg(tf.ones(own.shape)), losses: this.#crossEntropy(all) }
  }

  /** -log of the own positive's probability. */
  #crossEntropy({ logits, probabilities, own, ofOwn }: Softmax): Tensor {
    const tf = this.#tf
    if (tf.min(ofOwn).dataSync()[0] > leastProbability) return tf.neg(tf.log(ofOwn))
    // As the sum of all exponentials: the largest logit less the log of its probability.
    const most = tf.max(logits, 1, true)
    return tf.sub(tf.sub(most, tf.log(tf.max(probabilities, 1, true))), own)
  }

  /** Of the negatives only so many, those with the largest logits. */
  #hardest(scores: Tensor, own: Tensor, place: TilePlace, count: number): RowGradients {
    const tf = this.#tf
    const { columns } = place.batch
    const k = Math.min(count, columns)
    const found = tf.topk(this.#written(scores, place), k, false)
    const kept = this.#amongKept(found.values, own)
    const { rows } = place.span
    const row = Int32Array.from({ length: rows * k }, (_, i) => Math.floor(i / k))
    const at = [tf.tensor(row, [rows * k, 1], 'int32'), tf.reshape(found.indices, [rows * k, 1])]
    const flat = tf.reshape(kept.columns, [rows * k])
    return { ...kept, columns: tf.scatterND(tf.concat(at, 1), flat, [rows, columns]) }
  }

  /** Gradients by the logits of the negatives that were kept. */
  #amongKept(negatives: Tensor, own: Tensor): RowGradients {
    if ((this.#shape.loss.kind ?? 'softmax') !== 'softmax') return this.#pairwise(negatives, own)
    const tf = this.#tf
    const [rows, k] = negatives.shape
    const logits = tf.concat([negatives, own], 1)
    const all = tf.softmax(logits)
    const ofOwn = tf.slice(all, [0, k], [rows, 1])
    return {
      columns: tf.slice(all, [0, 0], [rows, k]),
      own: tf.sub(ofOwn, 1),
      losses: this.#crossEntropy({ logits, probabilities: all, own, ofOwn }),
    }
  }

  /** Losses that look at one negative at a time, in the mean over them. */
  #pairwise(negatives: Tensor, own: Tensor): RowGradients {
    const tf = this.#tf
    const isSigmoid = this.#shape.loss.kind === 'sigmoid'
    const count = tf.sum(tf.step(tf.sub(negatives, never / 2)), 1, true)
    const share = tf.div(tf.ones(own.shape), tf.maximum(count, 1))
    const logits = isSigmoid ? negatives : tf.sub(negatives, own)
    const columns = tf.mul(tf.sigmoid(logits), share)
    const losses = tf.mul(tf.sum(tf.softplus(logits), 1, true), share)
    if (!isSigmoid) return { columns, own: tf.neg(tf.sum(columns, 1, true)), losses }
    return {
      columns,
      own: tf.neg(tf.sigmoid(tf.neg(own))),
      losses: tf.add(losses, tf.softplus(tf.neg(own))),
    }
  }

  /** Logits with what no negative is out of the way, and the own positives as given or likewise. */
  #written(logits: Tensor, { batch, span }: TilePlace, own?: Tensor): Tensor {
    const tf = this.#tf
    const { from, rows } = span
    const { targets, maskOffsets, maskColumns } = batch
    const [first, last] = [maskOffsets[from], maskOffsets[from + rows]]
    const indices = new Int32Array(2 * (rows + last - first))
    let at = 0
    const write = (row: number, column: number): void => {
      indices[at] = row
      indices[at + 1] = column
      at += 2
    }
    for (let i = 0; i < rows; i += 1) write(i, targets[from + i])
    for (let i = 0; i < rows; i += 1) {
      const end = maskOffsets[from + i + 1]
      for (let k = maskOffsets[from + i]; k < end; k += 1) write(i, maskColumns[k])
    }
    const nevers = (n: number): Tensor => tf.tensor(new Float32Array(n).fill(never), [n])
    const owns = own === undefined ? nevers(rows) : tf.reshape(own, [rows])
    const updates = last === first ? owns : tf.concat([owns, nevers(last - first)], 0)
    const places = tf.tensor(indices, [indices.length / 2, 2], 'int32')
    return tf.tensorScatterUpdate(logits, places, updates)
  }

  /** What columns get as the own positives of queries, and by pulls. */
  #scattered({ batch, scaled, own, weights }: Operands, ofOwn: Tensor, input: StepInput): Tensor {
    const tf = this.#tf
    const { targets, columns } = batch
    const { pulls, pull, l2 } = input
    const { dim } = this.#shape
    const ofTargets = tf.mul(scaled, ofOwn)
    const updates = [l2 > 0 ? tf.add(ofTargets, this.#penalty(own, weights, l2)) : ofTargets]
    const indices = [...targets]
    if (pull > 0 && pulls.length > 0) {
      const pairs = pulls.length / 2
      const pulling = Int32Array.from({ length: pairs }, (_, i) => pulls[2 * i])
      for (let i = 0; i < pairs; i += 1) indices.push(pulls[2 * i + 1])
      const rows = tf.gather(scaled, tf.tensor(pulling, [pairs], 'int32'))
      updates.push(tf.mul(rows, -pull))
    }
    const places = tf.tensor(Int32Array.from(indices), [indices.length, 1], 'int32')
    const all = updates.length === 1 ? updates[0] : tf.concat(updates, 0)
    return tf.scatterND(places, all, [columns, dim])
  }

  #penalty(own: Tensor, weights: Tensor, l2: number): Tensor {
    const tf = this.#tf
    const { dim } = this.#shape
    const vectors = this.#shape.popularity ? tf.slice(own, [0, 0], [own.shape[0], dim]) : own
    return tf.mul(vectors, tf.mul(weights, 2 * l2))
  }

  /** Gradients of what pushes pairs apart, by queries over the temperature and by columns. */
  #pushed(
    operands: Operands,
    { pairs, weights }: Pushes,
  ): Record<'queries' | 'candidates', Tensor> {
    const tf = this.#tf
    const { dim } = this.#shape
    const { rows, columns } = operands.batch
    const n = weights.length
    const places = tf.split(tf.tensor(pairs.slice(0, 2 * n), [n, 2], 'int32'), [1, 1], 1)
    const [ofRow, ofColumn] = [operands.scaled, operands.vectors].map((x, i) =>
      tf.gather(tf.slice(x, [0, 0], [x.shape[0], dim]), tf.reshape(places[i], [n])),
    )
    const scores = tf.sum(tf.mul(ofRow, ofColumn), 1, true)
    const slopes = tf.mul(tf.sigmoid(scores), tf.tensor(weights.slice(), [n, 1]))
    return {
      queries: tf.scatterND(places[0], tf.mul(ofColumn, slopes), [rows, dim]),
      candidates: tf.scatterND(places[1], tf.mul(ofRow, slopes), [columns, dim]),
    }
  }

  /** From gradients by queries over the temperature to those by the tower's output. */
  #ofQueries(operands: Operands, gradients: Tensor, input: StepInput, queries: Tensor): Tensor {
    const tf = this.#tf
    const { temperature, l2 } = input
    const scaled = temperature === 1 ? gradients : tf.mul(gradients, 1 / temperature)
    if (l2 === 0) return scaled
    return tf.add(scaled, tf.mul(queries, tf.mul(operands.weights, 2 * l2)))
  }
}

interface TilePart {
  readonly queries: Tensor
  readonly candidates: Tensor
  readonly own: Tensor
  readonly loss: Tensor
}

interface TilePlace {
  readonly batch: LossBatch
  readonly span: Span
}

type TileOperands = Operands & TilePlace

/**
 * What is added to a row's sum of exponentials: the own positive's, which is 1, less what the sum
 * has of it already under the column's correction. `isWritten`: masks, or rounding, want it written
 * into the matrix as nothing instead.
 */
function takenOff(
  { ownExcess, maskOffsets }: LossBatch,
  { from, rows }: Span,
): { readonly taken: Float32Array; readonly isWritten: boolean } {
  const taken = new Float32Array(rows)
  let most = 0
  for (let i = 0; i < rows; i += 1) {
    const inMatrix = Math.exp(ownExcess[from + i])
    most = Math.max(most, inMatrix)
    taken[i] = 1 - inMatrix
  }
  const isMasked = maskOffsets[from + rows] > maskOffsets[from]
  const isWritten = isMasked || !(most <= mostTakenOff)
  return { taken: isWritten ? taken.fill(1) : taken, isWritten }
}

/** Rows in runs of at most `most`. */
function spans(rows: number, most: number): readonly Span[] {
  const found: Span[] = []
  for (let from = 0; from < rows; from += most) {
    found.push({ from, rows: Math.min(most, rows - from) })
  }
  return found
}

const rowsOf = (tf: Tensorflow, x: Tensor, { from, rows }: Span, all: number): Tensor =>
  rows === all ? x : tf.slice(x, [from, 0], [rows, x.shape[1]])
