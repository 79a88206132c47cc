/**
 * The loss of a batch on tower outputs, in the order of the sampled softmax: scores over
 * temperature, popularity, corrections, masks, weighted cross-entropy. Scores exist a tile of rows
 * at a time; the candidates' gradients are summed over fixed groups of rows and these in their
 * order, so threads leave no trace.
 */
import { assert } from '../base/assert.ts'
import { exp } from '../base/math.ts'
import type { Block } from '../kernels/arena.ts'
import type { Address } from '../kernels/operands.ts'
import type { ThreadPool } from '../kernels/thread-pool.ts'
import { lossCode, softmaxWord, softmaxWords } from '../kernels/tower-kernels.ts'
import { divisorOf, type Pushes, type StepInput } from './dense-engine.ts'
import type { Allocator } from './dense-parameters.ts'
import type { Instruction, ProgramSet } from './program.ts'
import type { LossSpec } from './spec.ts'
import type { Tower } from './tower.ts'

/**
 * Rows per group, by the batch alone: part of the model's arithmetic, since other numbers give
 * other last bits. Small batches are cut finer, so that a second thread has something to do; large
 * ones coarser, since each group has gradients of all candidates of its own.
 */
const smallBatch = 256
const largeBatch = 2048
const groupRowsFor = (batch: number): number => {
  if (batch <= smallBatch) return 32
  return batch <= largeBatch ? 128 : 256
}
const groupsOf = (batch: number): number => Math.ceil(batch / groupRowsFor(batch))
/** A smaller batch may have more groups than the largest. */
const mostGroups = (maxQueries: number): number =>
  Math.max(...[smallBatch, largeBatch, maxQueries].map((n) => groupsOf(Math.min(n, maxQueries))))
/** Floats of scores that a thread works on at a time, half a MiB: they stay in its cache. */
const tileFloats = 131_072
const smallestTile = 8
/** Columns are filled up to a multiple of this. */
export const columnGranularity = 16
/** Columns of a panel of candidates. */
const panelColumns = 8
const largestTile = 128
const bytesPerFloat = 4

export interface SoftmaxShape {
  readonly dim: number
  readonly threads: number
  readonly maxQueries: number
  /** A multiple of `columnGranularity`. */
  readonly maxColumns: number
  readonly popularity: boolean
  readonly loss: Pick<LossSpec, 'kind' | 'hardNegatives'>
  /** Vectors of a query, at most `smallestTile`. */
  readonly heads: number
  readonly query: Tower
  readonly candidate: Tower
  /** Where the vectors of queries that share rows are, and their gradients. */
  readonly shared: { readonly queries: Address; readonly gradients: Address } | undefined
}

export interface SoftmaxOutcome {
  readonly loss: number
  readonly weight: number
  readonly divisor: number
  readonly popularityWeightGradients: Float32Array
}

const tileRowsFor = (columns: number): number => {
  const rows = Math.floor(tileFloats / columns / 4) * 4
  return Math.min(largestTile, Math.max(smallestTile, rows))
}

/** Floats of the largest tile that any number of columns up to this needs, in whole cache lines. */
const tileSpace = (maxColumns: number, dim: number): number => {
  const scores = Math.max(tileFloats, smallestTile * maxColumns)
  return scores + largestTile * (columnGranularity + Math.ceil((dim + 1) / 16) * 16)
}

export class SoftmaxLoss {
  /** Part of the candidates' forward program, last, and of their backward program, first. */
  readonly pack: Instruction
  readonly sumParts: Instruction
  readonly #shape: SoftmaxShape
  readonly #job: Block<Int32Array>
  readonly #panels: Block<Float32Array>
  readonly #depth: number
  readonly #targets: Block<Int32Array>
  readonly #weights: Block<Float32Array>
  readonly #corrections: Block<Float32Array>
  readonly #targetCorrections: Block<Float32Array>
  readonly #popularity: Block<Float32Array>
  readonly #popularityWeights: Block<Float32Array>
  readonly #popularityWeightGradients: Block<Float32Array>
  readonly #masks: Block<Int32Array>
  readonly #losses: Block<Float32Array>
  readonly #parts: Block<Float32Array>
  #columns = 0
  #padded = 0
  /** Of the batch: vectors of queries, and the gradients by them. */
  #queries: Address
  #queryGradients: Address

  constructor(allocator: Allocator, shape: SoftmaxShape) {
    const { dim, maxQueries, maxColumns } = shape
    const groups = mostGroups(maxQueries)
    const popular = shape.popularity ? 1 : 0
    this.#shape = shape
    this.#job = allocator.ints(softmaxWords)
    this.#depth = dim + popular
    this.#panels = allocator.floats(this.#depth * maxColumns)
    this.#targets = allocator.ints(maxQueries)
    this.#weights = allocator.floats(maxQueries)
    this.#corrections = allocator.floats(maxColumns)
    this.#targetCorrections = allocator.floats(maxQueries)
    this.#popularity = allocator.floats(popular * maxColumns)
    this.#popularityWeights = allocator.floats(popular * maxQueries)
    this.#popularityWeightGradients = allocator.floats(popular * maxQueries)
    this.#masks = allocator.ints(maxQueries * Math.ceil(maxColumns / 32))
    this.#losses = allocator.floats(maxQueries)
    const shares = allocator.floats(maxQueries)
    this.#parts = allocator.floats(groups * maxColumns * dim)
    const tile = tileSpace(maxColumns, dim)
    const tiles = allocator.floats(shape.threads * tile)
    const { query, candidate } = shape
    this.pack = {
      operation: 'packRows',
      unit: 1,
      operands: [this.#panels.address, this.#depth, candidate.output, dim],
    }
    this.sumParts = {
      operation: 'sumParts',
      unit: dim,
      operands: [candidate.outputGradients, this.#parts.address, 0, 0],
    }
    this.#queries = query.output
    this.#queryGradients = query.outputGradients
    this.#set('dim', dim)
    this.#set('candidates', candidate.output)
    this.#set('panels', this.#panels.address)
    this.#set('targets', this.#targets.address)
    this.#set('weights', this.#weights.address)
    this.#set('corrections', this.#corrections.address)
    this.#set('targetCorrections', this.#targetCorrections.address)
    this.#set('popularityWeights', popular * this.#popularityWeights.address)
    this.#set('popularityWeightGradients', popular * this.#popularityWeightGradients.address)
    this.#set('losses', this.#losses.address)
    this.#set('shares', shares.address)
    this.#set('parts', this.#parts.address)
    this.#set('tiles', tiles.address)
    this.#set('tileBytes', tile * bytesPerFloat)
    this.#set('popularity', popular * this.#popularity.address)
    this.#set('loss', lossCode[shape.loss.kind ?? 'softmax'])
    this.#set('hardNegatives', shape.loss.hardNegatives ?? 0)
    this.#set('heads', shape.heads)
  }

  /** Takes what the batch needs beside tower outputs. */
  begin(input: StepInput): void {
    const { batch, columns } = input
    const { maxQueries, maxColumns, heads } = this.#shape
    assert(batch > 0 && batch <= maxQueries, 'as many queries as were reserved')
    assert(columns > 0 && columns <= maxColumns, 'as many columns as were reserved')
    const padded = Math.ceil(columns / columnGranularity) * columnGranularity
    this.#columns = columns
    this.#padded = padded
    copy(input.targets, this.#targets.view, batch)
    for (let b = 0; b < batch; b += 1) {
      assert(this.#targets.view[b] < columns, 'a target is a column of the batch')
    }
    copy(input.weights, this.#weights.view, batch)
    copy(input.targetCorrections, this.#targetCorrections.view, batch)
    copy(input.corrections, this.#corrections.view, columns)
    this.#corrections.view.fill(-Infinity, columns, padded)
    if (this.#shape.popularity) this.#takePopularity(input)
    this.#mask(input)
    this.#placeQueries(input)
    this.#set('batch', batch)
    this.#set('columns', padded)
    this.#set('groupRows', groupRowsFor(batch))
    const atOnce = Math.floor(tileRowsFor(padded) / heads)
    this.#set('tileRows', Math.min(atOnce, groupRowsFor(batch)))
    const { buffer, byteOffset } = this.#job.view
    const at = byteOffset + softmaxWord.perTemperature * bytesPerFloat
    new DataView(buffer).setFloat32(at, 1 / input.temperature, true)
  }

  /** Columns that only fill up are zero vectors. */
  padCandidates(): void {
    const { dim, candidate } = this.#shape
    const { buffer } = this.#job.view
    const rows = new Float32Array(buffer, candidate.output, this.#padded * dim)
    rows.fill(0, this.#columns * dim)
    for (let column = this.#columns; column < this.#padded; column += 1) {
      for (let j = 0; j < dim; j += 1) this.#panels.view[this.#inPanel(column, j)] = 0
    }
  }

  /** Losses and the gradients by the towers' outputs; the candidates' still in parts. */
  run(pool: ThreadPool, input: StepInput): SoftmaxOutcome {
    const { batch } = input
    assert(pool.threads <= this.#shape.threads, 'a tile for each thread')
    const grain = groupRowsFor(batch)
    // A group is a share: the more there are, the less one thread waits for the other in the end.
    const groups = groupsOf(batch)
    pool.run('softmaxGroups', [this.#job.address], groups * grain, grain)
    let loss = 0
    let weight = 0
    for (let b = 0; b < batch; b += 1) {
      if (this.#targets.view[b] < 0) continue
      loss += this.#losses.view[b]
      weight += this.#weights.view[b]
    }
    this.#applyPulls(input)
    const pushed = input.pushes === undefined ? 0 : this.#applyPushes(input, input.pushes)
    if (input.l2 > 0) this.#applyPenalty(input)
    return {
      loss: weight > 0 ? loss / weight : 0,
      weight,
      divisor: divisorOf(input, weight + pushed),
      popularityWeightGradients: this.#popularityWeightGradients.view,
    }
  }

  /** Tells the backward program how many parts there are and how long. */
  setParts(backward: ProgramSet, program: number): void {
    const groups = groupsOf(this.#job.view[softmaxWord.batch])
    const at = { program, instruction: 0 }
    backward.setOperand(at, 2, this.#padded * this.#shape.dim)
    backward.setOperand(at, 3, groups)
  }

  #set(word: keyof typeof softmaxWord, value: number): void {
    this.#job.view[softmaxWord[word]] = value
  }

  #placeQueries(input: StepInput): void {
    const { query, shared: room } = this.#shape
    const shared = input.shared && room
    assert(input.shared === undefined || room !== undefined, 'there is room for shared rows')
    this.#queries = shared?.queries ?? query.output
    this.#queryGradients = shared?.gradients ?? query.outputGradients
    this.#set('queries', this.#queries)
    this.#set('queryGradients', this.#queryGradients)
  }

  /** Beside the candidates' numbers the popularity of each is one more. */
  #takePopularity({ popularity, popularityWeights, batch, columns }: StepInput): void {
    const { view } = this.#popularity
    copy(popularity, view, columns)
    view.fill(0, columns, this.#padded)
    const { dim } = this.#shape
    for (let j = 0; j < this.#padded; j += 1) this.#panels.view[this.#inPanel(j, dim)] = view[j]
    copy(popularityWeights, this.#popularityWeights.view, batch)
  }

  /** Where number j of a candidate is in the panels. */
  #inPanel(column: number, j: number): number {
    const panel = Math.floor(column / panelColumns)
    return (panel * this.#depth + j) * panelColumns + (column % panelColumns)
  }

  #mask({ batch, masked, targets }: StepInput): void {
    const words = Math.ceil(this.#padded / 32)
    const bits = this.#masks.view
    this.#set('masks', masked.length > 0 ? this.#masks.address : 0)
    this.#set('maskWords', words)
    if (masked.length === 0) return
    bits.fill(0, 0, batch * words)
    for (let i = 0; i < masked.length; i += 2) {
      const [row, column] = [masked[i], masked[i + 1]]
      if (targets[row] !== column) bits[row * words + (column >>> 5)] |= 1 << (column & 31)
    }
  }

  #applyPulls({ pulls, pull, temperature }: StepInput): void {
    const { dim } = this.#shape
    if (pull === 0) return
    const queries = this.#view(this.#queries)
    const factor = Math.fround(pull / temperature)
    for (let i = 0; i < pulls.length; i += 2) {
      const from = this.#best(pulls[i], pulls[i + 1]).at
      const to = pulls[i + 1] * dim
      for (let j = 0; j < dim; j += 1) this.#parts.view[to + j] -= factor * queries[from + j]
    }
  }

  /** Returns the sum of their weights. */
  #applyPushes({ temperature }: StepInput, { pairs, weights }: Pushes): number {
    const { dim, candidate } = this.#shape
    const queries = this.#view(this.#queries)
    const gradients = this.#view(this.#queryGradients)
    const candidates = this.#view(candidate.output)
    let total = 0
    for (let i = 0; i < pairs.length / 2; i += 1) {
      const c = pairs[2 * i + 1] * dim
      const { at: q, score } = this.#best(pairs[2 * i], pairs[2 * i + 1])
      const slope = weights[i] / (temperature * (1 + exp(-score / temperature)))
      for (let j = 0; j < dim; j += 1) {
        gradients[q + j] += slope * candidates[c + j]
        this.#parts.view[c + j] += slope * queries[q + j]
      }
      total += weights[i]
    }
    return total
  }

  /** Where the head with the largest score for the column is; of equal ones the first. */
  #best(row: number, column: number): { readonly at: number; readonly score: number } {
    const { dim, candidate, heads } = this.#shape
    const queries = this.#view(this.#queries)
    const candidates = this.#view(candidate.output)
    let best = { at: row * heads * dim, score: NaN }
    for (let h = 0; h < heads; h += 1) {
      const at = (row * heads + h) * dim
      let score = 0
      for (let j = 0; j < dim; j += 1) score += queries[at + j] * candidates[column * dim + j]
      if (h === 0 || score > best.score) best = { at, score }
    }
    return best
  }

  #applyPenalty({ batch, l2 }: StepInput): void {
    const { dim, candidate, heads } = this.#shape
    const width = heads * dim
    const queries = this.#view(this.#queries)
    const gradients = this.#view(this.#queryGradients)
    const candidates = this.#view(candidate.output)
    for (let b = 0; b < batch; b += 1) {
      const target = this.#targets.view[b]
      if (target < 0) continue
      const factor = 2 * l2 * this.#weights.view[b]
      for (let j = 0; j < width; j += 1) {
        gradients[b * width + j] += factor * queries[b * width + j]
      }
      for (let j = 0; j < dim; j += 1) {
        this.#parts.view[target * dim + j] += factor * candidates[target * dim + j]
      }
    }
  }

  #view(address: number): Float32Array {
    return new Float32Array(this.#job.view.buffer, address)
  }
}

function copy<View extends Float32Array | Int32Array>(from: View, to: View, length: number): void {
  assert(from.length >= length, 'an array of the batch is as long as the batch')
  to.set(from.length === length ? from : from.subarray(0, length))
}
