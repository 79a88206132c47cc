/**
 * The softmax between two towers on tensors, with its rows in arrays of this thread: of a library
 * that computes on this processor, where an operation on a few numbers takes as long as the waking
 * of the library's threads, and copies are cheap. The library has the products and the exponentials
 * (`closed-loss.ts` has the formulas, and whatever else there is to a loss).
 */
import type { Pushes, StepInput } from '../dense-engine.ts'
import { HostRows } from './host-rows.ts'
import { largestSum, lossBatch, type LossBatch, type Span, spans, takenOff } from './loss-batch.ts'
import type { Products } from './products.ts'
import { RowLosses } from './row-losses.ts'
import { isPlain, type LossOutcome, type LossShape, type TensorLoss } from './tensor-loss.ts'
import type { Tensor, Tensorflow } from './tensorflow.ts'

/** What of a batch is in arrays; gradients are by queries over the temperature. */
interface HostBatch {
  readonly batch: LossBatch
  /** B x (d, popularity's weight, 1, less the own positive's logit). */
  readonly queries: HostRows
  /** C x (d, popularity, correction, 1). */
  readonly candidates: HostRows
  readonly columns: Tensor
  readonly ofQueries: HostRows
  readonly ofCandidates: HostRows
  readonly ofPopularityWeights: Float32Array
}

export class HostLoss implements TensorLoss {
  readonly #tf: Tensorflow
  readonly #products: Products
  readonly #shape: LossShape
  readonly #rows: RowLosses
  /** For what is not the softmax of one vector a query, and where its sums are too large. */
  readonly #others: TensorLoss

  constructor(tf: Tensorflow, products: Products, shape: LossShape, others: TensorLoss) {
    this.#tf = tf
    this.#products = products
    this.#shape = shape
    this.#rows = new RowLosses(tf, shape.loss)
    this.#others = others
  }

  run(input: StepInput, queries: Tensor, candidates: Tensor): LossOutcome {
    const { loss, heads } = this.#shape
    const own = isPlain(loss) && heads === 1 ? this.#run(input, queries, candidates) : undefined
    return own ?? this.#others.run(input, queries, candidates)
  }

  #run(input: StepInput, queries: Tensor, candidates: Tensor): LossOutcome | undefined {
    const tf = this.#tf
    const { dim, tileFloats } = this.#shape
    const host = this.#host(input, queries.dataSync(), candidates.dataSync())
    const { batch, ofCandidates, ofPopularityWeights } = host
    let loss = 0
    for (const span of spans(batch.rows, Math.max(1, Math.floor(tileFloats / batch.columns)))) {
      const ofTile = tf.tidy(() => this.#tile(host, span))
      if (ofTile === undefined) return undefined
      loss += ofTile
    }
    for (let i = 1; input.pull > 0 && i < input.pulls.length; i += 2) {
      const [row, column] = [input.pulls[i - 1], input.pulls[i]]
      ofCandidates.add(column, host.queries, row, -input.pull)
    }
    if (input.pushes !== undefined) push(host, input.pushes, dim)
    const { popularity } = this.#shape
    return {
      queries: tf.tensor(towerGradients(host, input, queries.shape[0]), queries.shape),
      candidates: tf.tensor(ofCandidates.values, candidates.shape),
      popularityWeights: popularity ? tf.tensor(ofPopularityWeights, [batch.rows, 1]) : undefined,
      loss: tf.tensor(Float32Array.of(loss), [1]),
    }
  }

  #host(input: StepInput, q: Float32Array, c: Float32Array): HostBatch {
    const { dim, popularity: isPopular } = this.#shape
    const batch = lossBatch(input)
    const { rows, columns, targets, targetCorrections } = batch
    const tail = isPopular ? 1 : 0
    const width = dim + tail + 2
    const [queries, candidates] = [HostRows.zeros(rows, width), HostRows.zeros(columns, width)]
    const right = candidates.values
    for (let j = 0; j < columns; j += 1) {
      const at = j * width
      for (let d = 0; d < dim; d += 1) right[at + d] = c[j * dim + d]
      if (isPopular) right[at + dim] = input.popularity[j]
      right[at + dim + tail] = input.corrections[j]
      right[at + dim + tail + 1] = 1
    }
    const left = queries.values
    const perTemperature = 1 / input.temperature
    for (let b = 0; b < rows; b += 1) {
      const at = b * width
      const from = (input.shared === undefined ? b : input.shared.rowOf[b]) * dim
      for (let d = 0; d < dim; d += 1) left[at + d] = q[from + d] * perTemperature
      if (isPopular) left[at + dim] = input.popularityWeights[b]
      left[at + dim + tail] = 1
      const own = queries.dot(b, candidates, targets[b], dim + tail)
      left[at + dim + tail + 1] = -(own + targetCorrections[b])
    }
    return {
      batch,
      queries,
      candidates,
      columns: this.#tf.tensor(right, [columns, width]),
      ofQueries: HostRows.zeros(rows, dim),
      ofCandidates: HostRows.zeros(columns, dim),
      ofPopularityWeights: new Float32Array(isPopular ? rows : 0),
    }
  }

  /** Adds a tile's gradients; returns its loss. Undefined: a sum of exponentials is too large. */
  #tile(host: HostBatch, span: Span): number | undefined {
    const tf = this.#tf
    const { ab, abT, aTb } = this.#products
    const { batch, queries, columns } = host
    const { width } = queries
    const rows = queries.values.subarray(span.from * width, (span.from + span.rows) * width)
    const scores = abT(tf.tensor(rows, [span.rows, width]), columns)
    const { taken, isWritten } = takenOff(batch, span)
    const exponentials = tf.exp(isWritten ? this.#rows.written(scores, { batch, span }) : scores)
    const found = this.#ofRows(host, span, { taken, back: ab(exponentials, columns).dataSync() })
    if (found === undefined) return undefined
    const { dim } = this.#shape
    // The few numbers of a query are the rows, which takes half the time.
    const ofColumns = aTb(tf.tensor(found.scaled, [span.rows, dim]), exponentials).dataSync()
    host.ofCandidates.addTransposed(ofColumns)
    return found.loss
  }

  /** What each row has of its products: gradients, its loss, and its query by its sum. */
  #ofRows(
    { batch, queries, candidates, ofQueries, ofCandidates, ofPopularityWeights }: HostBatch,
    { from, rows }: Span,
    { taken, back }: { readonly taken: Float32Array; readonly back: Float32Array },
  ): { readonly loss: number; readonly scaled: Float32Array } | undefined {
    const { dim } = this.#shape
    const { width } = queries
    const scaled = new Float32Array(rows * dim)
    const products = new HostRows(back, width)
    let loss = 0
    for (let i = 0; i < rows; i += 1) {
      const b = from + i
      const sum = back[i * width + width - 1] + taken[i]
      if (!(sum < largestSum)) return undefined
      const perRow = batch.weights[b] / sum
      const ofOwn = taken[i] * perRow - batch.weights[b]
      const target = batch.targets[b]
      loss += Math.log(sum) * batch.weights[b]
      ofQueries.add(b, products, i, perRow)
      ofQueries.add(b, candidates, target, ofOwn)
      ofCandidates.add(target, queries, b, ofOwn)
      for (let d = 0; d < dim; d += 1) scaled[i * dim + d] = queries.values[b * width + d] * perRow
      if (ofPopularityWeights.length === 0) continue
      ofPopularityWeights[b] =
        back[i * width + dim] * perRow + candidates.values[target * width + dim] * ofOwn
    }
    return { loss, scaled }
  }
}

/** log(1 + exp(q . c)) of every pair, times its weight. */
function push(host: HostBatch, { pairs, weights }: Pushes, dim: number): void {
  const { queries, candidates, ofQueries, ofCandidates } = host
  for (let i = 0; i < weights.length; i += 1) {
    const [row, column] = [pairs[2 * i], pairs[2 * i + 1]]
    const score = queries.dot(row, candidates, column, dim)
    const slope = weights[i] / (1 + Math.exp(-score))
    ofQueries.add(row, candidates, column, slope)
    ofCandidates.add(column, queries, row, slope)
  }
}

/** By the tower's output, `rows` of it; adds the penalty of long vectors to both sides. */
function towerGradients(host: HostBatch, input: StepInput, rows: number): Float32Array {
  const { batch, queries, candidates, ofQueries, ofCandidates } = host
  const { temperature, l2, shared } = input
  const { width } = ofQueries
  const gradients = HostRows.zeros(rows, width)
  for (let b = 0; b < batch.rows; b += 1) {
    const row = shared === undefined ? b : shared.rowOf[b]
    gradients.add(row, ofQueries, b, 1 / temperature)
    if (l2 === 0) continue
    const penalty = 2 * l2 * batch.weights[b]
    gradients.add(row, queries, b, penalty * temperature)
    ofCandidates.add(batch.targets[b], candidates, batch.targets[b], penalty)
  }
  return gradients.values
}
