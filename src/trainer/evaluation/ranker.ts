/**
 * Ranks targets among the whole live catalogue, exactly: item vectors are embedded once and kept,
 * again when something they depend on has changed; queries are embedded as they come and scored
 * many at once by kernels that only count. Results depend neither on slots nor on threads; other
 * threads count while this one trains.
 */
import { assert } from '../../base/assert.ts'
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { Arena, type Block } from '../../kernels/arena.ts'
import type { KernelImplementation } from '../../kernels/kernels.ts'
import { ThreadPool } from '../../kernels/thread-pool.ts'
import type { ItemInput, QueryInput } from '../../model/inputs.ts'
import type { TwoTower } from '../../model/two-tower.ts'
import { Candidates, candidateWords, codeWords } from '../candidates.ts'
import { findRows, type Tables } from '../rows.ts'
import { meanRank } from './ranking-metrics.ts'

export interface RankerOptions {
  readonly model: TwoTower
  readonly tables: Tables
  /** Handles are below this. */
  readonly handleCapacity: number
  /** What the model was created with. */
  readonly maxQueries: number
  readonly maxItems: number
  /** Most items excluded for one query. */
  readonly maxExcluded: number
  /** Half-life of the counts given to `setCount`. */
  readonly halfLifeMs: number
  readonly threads: number
  readonly implementation: KernelImplementation
  /** Asked between two groups of items: what it gives is awaited. */
  readonly breathe?: Breathe | undefined
}

/** Whether long work should pause here, and for how long. */
export type Breathe = () => Promise<void> | undefined

/** One query and the item that it should have found. */
export interface RankRequest {
  readonly query: QueryInput
  /** Handle of the item. */
  readonly target: number
  /** Handles that are not shown to this user; with the target among them the answer is a miss. */
  readonly excluded: Int32Array
}

/** One place per request: a rank, or NaN where the target's score is no finite number. */
export interface Ranks {
  readonly byScore: Float64Array
  /** By decayed count alone, most clicked first. */
  readonly byCount: Float64Array
}

/**
 * What is worth handing to another thread, in logarithms, in multiplications and in comparisons:
 * about twice what waking it takes.
 */
const shareOfLogs = 1 << 16
const shareOfProducts = 1 << 20
const shareOfCounts = 1 << 20
/** Rank calls between two orderings by popularity. */
const reorderEvery = 256
/** Excluded slots of all queries of one kernel call; one query's always fit. */
const excludedBlock = 1 << 20
const nothing = (): void => {}

export class Ranker {
  readonly candidates: Candidates
  readonly #options: RankerOptions
  readonly #pool: ThreadPool
  readonly #queries: Block<Float32Array>
  /** Of the queries, for the kernels: see `RankKernels`. */
  readonly #codes: Block<Int32Array>
  readonly #targets: Block<Int32Array>
  readonly #offsets: Block<Int32Array>
  readonly #excluded: Block<Int32Array>
  readonly #counts: Block<Int32Array>
  readonly #thresholds: Block<Float32Array>
  /** Of the candidates' counts, in blocks; as they are while ranks are finished. */
  readonly #bounds: Block<Float32Array>
  readonly #vectors: Block<Float32Array>
  readonly #slots: Block<Int32Array>
  #calls = 0

  static async create(options: RankerOptions): Promise<Ranker> {
    const { handleCapacity, maxQueries, maxItems, maxExcluded, model } = options
    const { outputDim } = model
    const vectors = 2 * maxQueries * model.queryHeads + maxItems
    const words = candidateWords(model.spec.dim) * (handleCapacity + 8) + vectors * (outputDim + 8)
    const arena = new Arena(4 * (words + excludedBlock + maxExcluded) + (1 << 18))
    const { threads, implementation } = options
    return new Ranker(options, arena, await ThreadPool.create(arena, { threads, implementation }))
  }

  private constructor(options: RankerOptions, arena: Arena, pool: ThreadPool) {
    const { handleCapacity, maxQueries, maxItems, maxExcluded, halfLifeMs, model } = options
    const { spec, outputDim } = model
    const hasPopularity = spec.score.popularity !== undefined
    this.#options = options
    this.#pool = pool
    this.candidates = new Candidates({
      arena,
      capacity: handleCapacity,
      dims: spec.dim,
      hasPopularity,
      halfLifeMs,
    })
    this.#queries = arena.floats(maxQueries * model.queryHeads * outputDim)
    this.#codes = arena.ints(maxQueries * model.queryHeads * (1 + codeWords(spec.dim)))
    this.#targets = arena.ints(maxQueries)
    this.#offsets = arena.ints(maxQueries + 1)
    this.#excluded = arena.ints(excludedBlock + maxExcluded)
    this.#counts = arena.ints(2 * maxQueries)
    this.#thresholds = arena.floats(maxQueries)
    this.#bounds = arena.floats(2 * Math.ceil(handleCapacity / 256))
    this.#vectors = arena.floats(maxItems * outputDim)
    this.#slots = arena.ints(maxItems)
  }

  /** Embeds items with the rows as they are now; those that were no candidates become some. */
  async put(items: readonly ItemInput[]): Promise<void> {
    const { maxItems, model, breathe } = this.#options
    for (let from = 0; from < items.length; from += maxItems) {
      const pause = breathe?.()
      if (pause !== undefined) await pause
      const part = items.slice(from, from + maxItems)
      await findRows(model.prepareItems(part), this.#options.tables)
      this.#vectors.view.set(model.embedItems())
      for (let i = 0; i < part.length; i += 1) {
        this.#slots.view[i] = this.candidates.add(part[i].handle)
      }
      this.#pool.kernels.packCandidates(
        this.candidates.address,
        this.#slots.address,
        this.#vectors.address,
        model.outputDim,
        part.length,
      )
    }
  }

  /** From now on popularity is that of `time` (epoch ms). */
  moveTo(time: number): void {
    const { popularity } = this.#options.model.spec.score
    if (popularity === undefined) return
    const { candidates } = this
    if (this.#calls % reorderEvery === 0) candidates.reorder()
    this.#calls += 1
    candidates.decayTo(time, popularity.smoothing)
    const { address } = candidates.popularity
    this.#pool.run('log', [address, address], candidates.size, shareOfLogs)
  }

  /**
   * The rank of each request's target; Infinity where it is no candidate, or excluded. By the model
   * and the rows as they are now, but there when what is returned has been called: until then
   * candidates stay as they are.
   */
  async begin(requests: readonly RankRequest[], ranks: Ranks): Promise<() => void> {
    let finish = nothing
    for (let from = 0; from < requests.length;) {
      finish()
      const to = this.#stage(requests, from)
      await this.#embed(requests.slice(from, to))
      const byScore = this.#rankByScore(ranks.byScore.subarray(from, to))
      const byCount = ranks.byCount.subarray(from, to)
      finish = () => {
        byScore()
        this.#rankByCount(byCount)
      }
      from = to
    }
    return finish
  }

  /**
   * How many candidates' counts are above the value, and how many equal to it. Only once ranks are
   * there, and before a count changes.
   */
  countAbove(value: number): readonly [above: number, equal: number] {
    this.#thresholds.view[0] = value
    const { counts, size } = this.candidates
    const { address } = this.#counts
    const operands = [counts.address, size, this.#bounds.address, this.#thresholds.address] as const
    this.#pool.kernels.countAbove(address, ...operands, 0, 1)
    return [this.#counts.view[0], this.#counts.view[1]]
  }

  serialize(writer: ByteWriter): void {
    writer.float64(this.#calls)
    this.candidates.serialize(writer)
  }

  /** Into a fresh ranker; call `put` for every candidate afterwards. */
  load(reader: ByteReader): void {
    this.#calls = reader.float64()
    this.candidates.load(reader)
  }

  close(): Promise<void> {
    return this.#pool.close()
  }

  /** Targets and exclusions of the requests [from, to) as slots; returns `to`. */
  #stage(requests: readonly RankRequest[], from: number): number {
    const { candidates } = this
    const limit = Math.min(requests.length, from + this.#options.maxQueries)
    let length = 0
    let at = from
    for (; at < limit && length < excludedBlock; at += 1) {
      const { target, excluded } = requests[at]
      assert(excluded.length <= this.#options.maxExcluded, 'no more excluded than reserved')
      let targetSlot = candidates.slot(target)
      this.#offsets.view[at - from] = length
      for (let i = 0; i < excluded.length; i += 1) {
        if (excluded[i] === target) targetSlot = -1
        const slot = candidates.slot(excluded[i])
        if (slot < 0) continue
        this.#excluded.view[length] = slot
        length += 1
      }
      this.#targets.view[at - from] = targetSlot
    }
    this.#offsets.view[at - from] = length
    return at
  }

  async #embed(requests: readonly RankRequest[]): Promise<void> {
    const { model, tables } = this.#options
    await findRows(model.prepareQueries(requests.map(({ query }) => query)), tables)
    this.#queries.view.set(model.embedQueries())
  }

  #rankByScore(ranks: Float64Array): () => void {
    const { outputDim, queryHeads } = this.#options.model
    const counts = this.#counts.address
    const targets = this.#targets.address
    const queries = this.#queries.address
    const { address } = this.candidates
    const n = ranks.length
    const products = this.candidates.size * outputDim * queryHeads
    const grain = Math.ceil(shareOfProducts / (products + 1))
    const asked = [counts, address, queries, outputDim, queryHeads, targets] as const
    const codes = this.#codes.address
    const counted = this.#pool.begin('rankTargets', [...asked, codes], n, grain)
    return () => {
      counted()
      const excluded = [this.#offsets.address, this.#excluded.address] as const
      this.#pool.kernels.rankExcluded(...asked, ...excluded, 0, n)
      this.#takeRanks(ranks)
    }
  }

  #rankByCount(ranks: Float64Array): void {
    const { counts, size } = this.candidates
    const { view: targets } = this.#targets
    const { view: thresholds } = this.#thresholds
    for (let q = 0; q < ranks.length; q += 1) {
      thresholds[q] = targets[q] < 0 ? Infinity : counts.view[targets[q]]
    }
    const bounds = this.#bounds.address
    this.#pool.kernels.boundBlocks(bounds, counts.address, size)
    const operands = [counts.address, size, bounds, this.#thresholds.address] as const
    const grain = Math.ceil(shareOfCounts / (size + 1))
    this.#pool.run('countAbove', [this.#counts.address, ...operands], ranks.length, grain)
    for (let q = 0; q < ranks.length; q += 1) {
      const end = this.#offsets.view[q + 1]
      for (let e = this.#offsets.view[q]; e < end; e += 1) {
        const count = counts.view[this.#excluded.view[e]]
        if (count > thresholds[q]) this.#counts.view[2 * q] -= 1
        if (count === thresholds[q]) this.#counts.view[2 * q + 1] -= 1
      }
    }
    this.#takeRanks(ranks)
  }

  #takeRanks(ranks: Float64Array): void {
    const { view: counts } = this.#counts
    for (let q = 0; q < ranks.length; q += 1) {
      const [above, equal] = [counts[2 * q], counts[2 * q + 1]]
      if (this.#targets.view[q] < 0) ranks[q] = Infinity
      // The target itself is among the equal ones, unless its score is none.
      else ranks[q] = equal === 0 ? NaN : meanRank(above, equal - 1)
    }
  }
}
