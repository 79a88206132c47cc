/**
 * Synthetic interactions of the size of MovieLens-1M for `freshet bench train`, and the batches made
 * of them: what the trainer's sampling does. A batch of 256 / 1,024 / 4,096 has 230 / 720 / 1,830
 * distinct items and 250 / 940 / 2,970 users; of the real data, shuffled, 231 / 730 / 1,650 and
 * 243 / 856 / 2,350.
 */
import { seededRandom, type Random } from '../src/base/random.ts'
import type { ItemInput, QueryInput } from '../src/model/inputs.ts'
import type { StepBatch } from '../src/model/step-batch.ts'

export const users = 6040
export const items = 3706
const tastes = 20

/** A power law over n things: the k-th has a weight of 1 / (k + 60). */
function powerLaw(n: number, random: Random): () => number {
  const cumulated = new Float64Array(n)
  let sum = 0
  for (let k = 0; k < n; k += 1) {
    sum += 1 / (k + 60)
    cumulated[k] = sum
  }
  return () => {
    const at = random.next() * sum
    let [low, high] = [0, n - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (cumulated[middle] < at) low = middle + 1
      else high = middle
    }
    return low
  }
}

interface Interactions {
  readonly users: Int32Array
  readonly items: Int32Array
}

/** Users prefer items of their own taste three times in four. */
export function interactions(count: number, seed: number): Interactions {
  const random = seededRandom(seed)
  const anyItem = powerLaw(items, random)
  const made = { users: new Int32Array(count), items: new Int32Array(count) }
  for (let i = 0; i < count; i += 1) {
    const user = random.integer(users)
    let item = anyItem()
    for (let k = 0; k < tastes && item % tastes !== user % tastes; k += 1) {
      if (random.next() >= 0.75) break
      item = anyItem()
    }
    made.users[i] = user
    made.items[i] = item
  }
  return made
}

const queryOf = (user: number): QueryInput => ({
  userId: `user-${user}`,
  userFeatures: {},
  history: [],
  context: {},
  timestamp: 0,
})

const itemOf = (handle: number): ItemInput => {
  return { handle, id: `item-${handle}`, revision: 1, features: {} }
}

/** `columns` and `batch` are valid until the next is made. */
interface MadeBatch {
  readonly queries: readonly QueryInput[]
  readonly columns: readonly ItemInput[]
  readonly batch: StepBatch
}

/** Columns are the distinct items of a batch; corrections are exact. */
export class BatchMaker {
  readonly #size: number
  readonly #data: Interactions
  /** An object for each example, as they come from a log, and not one for each user. */
  readonly #queries: readonly (readonly QueryInput[])[]
  readonly #catalogue = Array.from({ length: items }, (_, handle) => itemOf(handle))
  readonly #logQ: Float32Array
  readonly #columnOf = new Int32Array(items).fill(-1)
  readonly #multiplicity = new Int32Array(items)
  readonly #columns: ItemInput[] = []
  readonly #batch: StepBatch
  #distinct = 0

  constructor({ batches, batch, seed }: Readonly<Record<'batches' | 'batch' | 'seed', number>>) {
    this.#size = batch
    this.#data = interactions(batches * batch, seed)
    this.#queries = Array.from({ length: batches }, (_, i) =>
      Array.from(this.#data.users.subarray(i * batch, (i + 1) * batch), queryOf),
    )
    const counts = new Float64Array(items)
    for (const item of this.#data.items) counts[item] += 1
    this.#logQ = Float32Array.from(counts, (n) => Math.log(Math.max(n, 0.1) / (batches * batch)))
    this.#batch = {
      targets: new Int32Array(batch),
      weights: new Float32Array(batch).fill(1),
      corrections: new Float32Array(batch),
      targetCorrections: new Float32Array(batch),
      popularity: new Float32Array(0),
      masked: new Int32Array(0),
      pulls: new Int32Array(0),
    }
  }

  make(index: number): MadeBatch {
    const first = index * this.#size
    this.#distinct = 0
    for (let b = 0; b < this.#size; b += 1) {
      const item = this.#data.items[first + b]
      this.#batch.targets[b] = this.#column(item)
      this.#batch.targetCorrections[b] = -this.#logQ[item]
    }
    this.#columns.length = this.#distinct
    for (let column = 0; column < this.#distinct; column += 1) {
      const { handle } = this.#columns[column]
      this.#batch.corrections[column] = Math.log(this.#multiplicity[column]) - this.#logQ[handle]
      this.#columnOf[handle] = -1
    }
    return { queries: this.#queries[index], columns: this.#columns, batch: this.#batch }
  }

  #column(item: number): number {
    let column = this.#columnOf[item]
    if (column < 0) {
      column = this.#distinct
      this.#distinct += 1
      this.#columnOf[item] = column
      this.#columns[column] = this.#catalogue[item]
      this.#multiplicity[column] = 0
    }
    this.#multiplicity[column] += 1
    return column
  }
}
