/**
 * Losses of the rows of a tile of scores, and their gradients by each logit: the softmax where sums
 * of exponentials do not do, hard negatives, sigmoid, BPR (assembly/row-losses.ts).
 */
import type { LossSpec } from '../spec.ts'
import type { LossBatch, Span } from './loss-batch.ts'
import { isPlain } from './tensor-loss.ts'
import type { Tensor, Tensorflow } from './tensorflow.ts'

/** The logit of what is no negative: its exponential is zero, and no sum of these overflows. */
const never = -1e30
/** Below it the logarithm of a probability is not taken: it may have come to nothing. */
const leastProbability = 1e-30

export interface TilePlace {
  readonly batch: LossBatch
  readonly span: Span
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

export class RowLosses {
  readonly #tf: Tensorflow
  readonly #loss: Pick<LossSpec, 'kind' | 'hardNegatives'>

  constructor(tf: Tensorflow, loss: Pick<LossSpec, 'kind' | 'hardNegatives'>) {
    this.#tf = tf
    this.#loss = loss
  }

  /** `own`: logits of the own positives, which with the plain softmax are taken off the scores. */
  gradients(scores: Tensor, own: Tensor, place: TilePlace): RowGradients {
    const { hardNegatives } = this.#loss
    if (hardNegatives !== undefined) return this.#hardest(scores, own, place, hardNegatives)
    if (!isPlain(this.#loss)) return this.#pairwise(this.written(scores, place), own)
    const zeros = this.#tf.zeros(own.shape)
    return this.#softmax(this.written(scores, place, zeros), zeros, place)
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
    const found = tf.topk(this.written(scores, place), k, false)
    const kept = this.#amongKept(found.values, own)
    const { rows } = place.span
    const row = Int32Array.from({ length: rows * k }, (_, i) => Math.floor(i / k))
    const at = [tf.tensor(row, [rows * k, 1], 'int32'), tf.reshape(found.indices, [rows * k, 1])]
    const flat = tf.reshape(kept.columns, [rows * k])
    return { ...kept, columns: tf.scatterND(tf.concat(at, 1), flat, [rows, columns]) }
  }

  /** Gradients by the logits of the negatives that were kept. */
  #amongKept(negatives: Tensor, own: Tensor): RowGradients {
    if ((this.#loss.kind ?? 'softmax') !== 'softmax') return this.#pairwise(negatives, own)
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
    const isSigmoid = this.#loss.kind === 'sigmoid'
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
  written(logits: Tensor, { batch, span }: TilePlace, own?: Tensor): Tensor {
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
}
