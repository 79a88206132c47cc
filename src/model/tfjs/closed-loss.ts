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
 *
 * A query of several heads has such a product for each, and the largest of them is the logit.
 */
import type { Pushes, StepInput } from '../dense-engine.ts'
import { type Best, bestOf } from './best-head.ts'
import { largestSum, lossBatch, type LossBatch, type Span, spans, takenOff } from './loss-batch.ts'
import type { Products } from './products.ts'
import { RowLosses, type TilePlace } from './row-losses.ts'
import { isPlain, type LossOutcome, type LossShape, type TensorLoss } from './tensor-loss.ts'
import type { Tensor, Tensorflow } from './tensorflow.ts'

/** The vectors of a batch, and with what rides behind them. */
interface Operands {
  readonly batch: LossBatch
  /** Of every head B x dim, over the temperature, and as a factor of the scores. */
  readonly scaled: readonly Tensor[]
  readonly queries: readonly Tensor[]
  /** C x dim, with popularity one number more, and as a factor of the scores. */
  readonly vectors: Tensor
  readonly candidates: Tensor
  /** Of `vectors` each query's own positive, its logit (B x 1), and which head has it. */
  readonly own: Tensor
  readonly ownLogits: Tensor
  readonly ownShares: Best['shares']
  /** B x 1. */
  readonly weights: Tensor
}

export class ClosedLoss implements TensorLoss {
  readonly #tf: Tensorflow
  readonly #products: Products
  readonly #shape: LossShape
  readonly #rows: RowLosses
  readonly #isPlain: boolean

  constructor(tf: Tensorflow, products: Products, shape: LossShape) {
    this.#tf = tf
    this.#products = products
    this.#shape = shape
    this.#rows = new RowLosses(tf, shape.loss)
    this.#isPlain = isPlain(shape.loss)
  }

  run(input: StepInput, queries: Tensor, candidates: Tensor): LossOutcome {
    const { shared, batch } = input
    if (shared === undefined) return this.#run(input, queries, candidates)
    const tf = this.#tf
    const rowOf = tf.tensor(shared.rowOf.slice(0, batch), [batch, 1], 'int32')
    const own = tf.gather(queries, tf.reshape(rowOf, [batch]))
    const outcome = this.#run(input, own, candidates)
    return { ...outcome, queries: tf.scatterND(rowOf, outcome.queries, queries.shape) }
  }

  #run(input: StepInput, queries: Tensor, candidates: Tensor): LossOutcome {
    const tf = this.#tf
    const { columns } = input
    const { dim } = this.#shape
    const operands = this.#operands(input, queries, candidates)
    const parts = spans(input.batch, this.#rowsPerTile(columns)).map((span) =>
      tf.tidy(() => this.#tile(operands, span)),
    )
    const whole = (pick: (part: TilePart) => Tensor): Tensor => {
      const tensors = parts.map(pick)
      return tensors.length === 1 ? tensors[0] : tf.concat(tensors, 0)
    }
    const ofOwn = operands.ownShares(whole(({ own }) => own))
    const gradients = ofOwn.map((own, head) =>
      tf.add(
        whole((part) => part.queries[head]),
        tf.mul(operands.own, own),
      ),
    )
    const sums = this.#sum(parts.map((part) => part.candidates))
    const ofColumns = tf.add(sums, this.#scattered(operands, ofOwn, input))
    const { popularity } = this.#shape
    const ofQueries = popularity
      ? gradients.map((all) => tf.slice(all, [0, 0], [input.batch, dim]))
      : gradients
    const { pushes } = input
    const hasPushes = pushes !== undefined && pushes.weights.length > 0
    const pushed = hasPushes ? this.#pushed(operands, pushes) : undefined
    const scaled = ofQueries.map((all, head) =>
      pushed === undefined ? all : tf.add(all, pushed.queries[head]),
    )
    const weights = (all: Tensor): Tensor => tf.slice(all, [0, dim], [input.batch, 1])
    return {
      queries: this.#ofQueries(operands, scaled, input, queries),
      candidates: pushed === undefined ? ofColumns : tf.add(ofColumns, pushed.candidates),
      popularityWeights: popularity ? this.#sum(gradients.map(weights)) : undefined,
      loss: this.#sum(parts.map((part) => part.loss)),
    }
  }

  #sum(tensors: readonly Tensor[]): Tensor {
    return tensors.reduce((a, b) => this.#tf.add(a, b))
  }

  #rowsPerTile(columns: number): number {
    const { tileFloats, heads } = this.#shape
    return Math.max(1, Math.floor(tileFloats / (heads * columns)))
  }

  #operands(input: StepInput, q: Tensor, c: Tensor): Operands {
    const tf = this.#tf
    const { columns, corrections, popularity, popularityWeights, temperature } = input
    const batch = lossBatch(input)
    const { rows, targets, targetCorrections } = batch
    const column = (values: Float32Array, n: number): Tensor =>
      tf.tensor(values.slice(0, n), [n, 1])
    const isPopular = this.#shape.popularity
    const scaled = this.#heads(temperature === 1 ? q : tf.mul(q, 1 / temperature))
    const vectors = isPopular ? tf.concat([c, column(popularity, columns)], 1) : c
    const weight = isPopular ? [column(popularityWeights, rows)] : []
    const weighted = scaled.map((head) => (isPopular ? tf.concat([head, ...weight], 1) : head))
    const own = tf.gather(vectors, tf.tensor(targets, [rows], 'int32'))
    const products = weighted.map((head) => tf.sum(tf.mul(head, own), 1, true))
    const { most, shares } = bestOf(tf, products)
    const ownLogits = tf.add(most, column(targetCorrections, rows))
    const ones = (n: number): Tensor => column(new Float32Array(n).fill(1), n)
    const [lessOwn, one] = this.#isPlain ? [[tf.neg(ownLogits)], [ones(columns)]] : [[], []]
    const behind = [ones(rows), ...lessOwn]
    return {
      batch,
      scaled,
      queries: weighted.map((head) => tf.concat([head, ...behind], 1)),
      vectors,
      candidates: tf.concat([vectors, column(corrections, columns), ...one], 1),
      own,
      ownLogits,
      ownShares: shares,
      weights: column(batch.weights, rows),
    }
  }

  /** Side by side in each row. */
  #heads(queries: Tensor): readonly Tensor[] {
    const { heads } = this.#shape
    if (heads === 1) return [queries]
    return this.#tf.split(queries, heads, 1)
  }

  #tile(operands: Operands, span: Span): TilePart {
    const tf = this.#tf
    const { ab, abT } = this.#products
    const part = (x: Tensor): Tensor => rowsOf(tf, x, span, operands.batch.rows)
    const ofHeads = operands.queries.map((head) => abT(part(head), operands.candidates))
    const { most, shares } = bestOf(tf, ofHeads)
    const place = { ...operands, span, shares }
    const plain = this.#isPlain ? this.#plain(most, place) : undefined
    if (plain !== undefined) return plain
    const weights = part(operands.weights)
    const rows = this.#rows.gradients(most, part(operands.ownLogits), place)
    const columns = shares(rows.columns)
    return {
      queries: columns.map((head) => tf.mul(ab(head, operands.vectors), weights)),
      candidates: this.#ofCandidates(place, columns, weights),
      own: tf.mul(rows.own, weights),
      loss: tf.sum(tf.mul(rows.losses, weights)),
    }
  }

  /**
   * The softmax by sums of exponentials, which the product on the way back gives with the rest;
   * nothing where one of them is too large.
   */
  #plain(scores: Tensor, place: TileOperands): TilePart | undefined {
    const tf = this.#tf
    const { batch, span, candidates, vectors } = place
    const { taken, isWritten } = takenOff(batch, span)
    const columns = place.shares(tf.exp(isWritten ? this.#rows.written(scores, place) : scores))
    const width = vectors.shape[1]
    const backs = columns.map((head) =>
      tf.split(this.#products.ab(head, candidates), [width, 1, 1], 1),
    )
    const rest = tf.tensor(taken, [span.rows, 1])
    const sums = tf.add(this.#sum(backs.map((back) => back[2])), rest)
    if (!(tf.max(sums).dataSync()[0] < largestSum)) return undefined
    const weights = rowsOf(tf, place.weights, span, batch.rows)
    const perRow = tf.div(weights, sums)
    return {
      queries: backs.map((back) => tf.mul(back[0], perRow)),
      candidates: this.#ofCandidates(place, columns, perRow),
      own: tf.sub(tf.mul(rest, perRow), weights),
      loss: tf.sum(tf.mul(tf.log(sums), weights)),
    }
  }

  /** `columns`: of every head, to be multiplied by `perRow`. */
  #ofCandidates(
    { scaled, batch, span }: TileOperands,
    columns: readonly Tensor[],
    perRow: Tensor,
  ): Tensor {
    const tf = this.#tf
    const ofHeads = columns.map((head, i) => {
      const queries = rowsOf(tf, scaled[i], span, batch.rows)
      return this.#products.aTb(tf.mul(queries, perRow), head)
    })
    // Transposed as a whole it takes half the time: the few numbers of a query are the rows.
    return tf.transpose(this.#sum(ofHeads))
  }

  /** What columns get as the own positives of queries, and by pulls. */
  #scattered(operands: Operands, ofOwn: readonly Tensor[], input: StepInput): Tensor {
    const tf = this.#tf
    const { batch, scaled, own, weights } = operands
    const { targets, columns } = batch
    const { pulls, pull, l2 } = input
    const { dim } = this.#shape
    const ofTargets = this.#sum(scaled.map((head, i) => tf.mul(head, ofOwn[i])))
    const updates = [l2 > 0 ? tf.add(ofTargets, this.#penalty(own, weights, l2)) : ofTargets]
    const indices = [...targets]
    if (pull > 0 && pulls.length > 0) {
      for (let i = 1; i < pulls.length; i += 2) indices.push(pulls[i])
      const { query } = this.#pairs(operands, pulls)
      updates.push(tf.mul(query, -pull))
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

  /** Gradients of what pushes pairs apart, by every head over the temperature and by columns. */
  #pushed(
    operands: Operands,
    { pairs, weights }: Pushes,
  ): { readonly queries: readonly Tensor[]; readonly candidates: Tensor } {
    const tf = this.#tf
    const { dim } = this.#shape
    const { rows, columns } = operands.batch
    const n = weights.length
    const found = this.#pairs(operands, pairs.subarray(0, 2 * n))
    const slopes = tf.mul(tf.sigmoid(found.scores), tf.tensor(weights.slice(), [n, 1]))
    const [inQueries, inColumns] = found.places
    return {
      queries: found
        .shares(tf.mul(found.column, slopes))
        .map((head) => tf.scatterND(inQueries, head, [rows, dim])),
      candidates: tf.scatterND(inColumns, tf.mul(found.query, slopes), [columns, dim]),
    }
  }

  #pairs({ scaled, vectors }: Operands, pairs: Int32Array): Pairs {
    const tf = this.#tf
    const { dim } = this.#shape
    const n = pairs.length / 2
    const places = tf.split(tf.tensor(pairs.slice(), [n, 2], 'int32'), [1, 1], 1)
    const [rows, columns] = places.map((place) => tf.reshape(place, [n]))
    const items = tf.slice(vectors, [0, 0], [vectors.shape[0], dim])
    const column = tf.gather(items, columns)
    const heads = scaled.map((head) => tf.gather(head, rows))
    const products = heads.map((head) => tf.sum(tf.mul(head, column), 1, true))
    const { most: scores, shares } = bestOf(tf, products)
    const isIt = shares(tf.ones([n, 1]))
    const query = this.#sum(heads.map((head, i) => tf.mul(head, isIt[i])))
    return { places, query, column, scores, shares }
  }

  /** From gradients by every head over the temperature to those by the tower's output. */
  #ofQueries(
    operands: Operands,
    ofHeads: readonly Tensor[],
    input: StepInput,
    queries: Tensor,
  ): Tensor {
    const tf = this.#tf
    const { temperature, l2 } = input
    const gradients = ofHeads.length === 1 ? ofHeads[0] : tf.concat([...ofHeads], 1)
    const scaled = temperature === 1 ? gradients : tf.mul(gradients, 1 / temperature)
    if (l2 === 0) return scaled
    return tf.add(scaled, tf.mul(queries, tf.mul(operands.weights, 2 * l2)))
  }
}

/** (query, column) pairs. */
interface Pairs {
  /** Of their queries, and of their columns (n x 1 each). */
  readonly places: readonly Tensor[]
  /** Of the query the head that scores highest, over the temperature (n x dim). */
  readonly query: Tensor
  readonly column: Tensor
  readonly scores: Tensor
  readonly shares: Best['shares']
}

interface TilePart {
  /** Of every head, without the own positives'. */
  readonly queries: readonly Tensor[]
  readonly candidates: Tensor
  readonly own: Tensor
  readonly loss: Tensor
}

/** With which head each column's score is of. */
type TileOperands = Operands & TilePlace & Pick<Best, 'shares'>

const rowsOf = (tf: Tensorflow, x: Tensor, { from, rows }: Span, all: number): Tensor =>
  rows === all ? x : tf.slice(x, [from, 0], [rows, x.shape[1]])
