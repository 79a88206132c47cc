/** A table and the clock around its verbs. */
import { assert } from '../src/base/assert.ts'
import { seededRandom } from '../src/base/random.ts'
import { MemoryTable } from '../src/embedding/memory/memory-table.ts'
import type { KernelImplementation } from '../src/kernels/kernels.ts'
import { type Batch, batchKeys, type Workload } from './table-workload.ts'

export const verbs = ['find', 'findOrInsert', 'assign', 'applyGradients', 'erase'] as const
export type Verb = (typeof verbs)[number]

/** Milliseconds. */
export interface Steps {
  readonly total: number
  readonly longest: number
  /** Of the thread's processor time: what it is where nothing else runs. */
  readonly longestCpu: number
}

const keptShare = 0.8

export class Subject {
  readonly table: MemoryTable
  loadFactor = 0
  /** Part of the results, so that nothing measured could be left out. */
  sink = 0
  readonly #found: Float32Array
  #version = 1

  constructor(implementation: KernelImplementation, rows: number, dim: number) {
    const spec = {
      name: 'bench',
      dim,
      capacityRows: rows,
      initializer: { kind: 'normal', mean: 0, std: 0.1 },
      optimizer: {
        kind: 'adagrad',
        rate: 0.1,
        initialAccumulator: 0.1,
        epsilon: 1e-7,
        gradients: 'sum',
      },
    } as const
    this.table = new MemoryTable(spec, { implementation })
    this.#found = new Float32Array(batchKeys * dim)
  }

  /** Rows per second of one pass over all batches. */
  measure(verb: Verb, { arriving, mixed }: Workload): number {
    const batches = verb === 'findOrInsert' ? arriving : mixed
    this.#version += 1
    const started = performance.now()
    let rows = 0
    for (const batch of batches) {
      this.act(verb, batch)
      rows += batch.keys.length / 2
    }
    const seconds = (performance.now() - started) / 1000
    this.sink += this.#found[0]
    const { loadFactor } = this.table.stats()
    this.loadFactor = Math.max(this.loadFactor, loadFactor)
    return rows / seconds
  }

  /** Restricts to four fifths at once, and puts back what left. */
  measureRestrict({ mixed }: Workload, seed: number): { ms: number; removed: number } {
    this.#spreadScores(mixed, seed)
    const numReserved = Math.floor(this.table.size * keptShare)
    const started = performance.now()
    const removed = this.table.restrict({ numReserved, trigger: numReserved, policy: 'frequency' })
    const ms = performance.now() - started
    assert(this.table.size === numReserved, 'restrict leaves what it was asked for')
    this.#refill(mixed)
    return { ms, removed: removed.length / 2 }
  }

  /** The same between batches, in steps. */
  measurePauses({ mixed }: Workload, seed: number): Steps {
    this.#spreadScores(mixed, seed)
    const steps = this.restrictInSteps(keptShare)
    this.#refill(mixed)
    return steps
  }

  restrictInSteps(share: number): Steps {
    const numReserved = Math.floor(this.table.size * share)
    const request = { numReserved, trigger: numReserved, policy: 'frequency' } as const
    return timeSteps(() => {
      this.table.restrictSome(request)
      return this.table.size > numReserved
    })
  }

  act(verb: Verb, { keys, vectors, occurrences }: Batch): void {
    const stamp = { time: this.#version * 1000, version: this.#version }
    if (verb === 'find') this.table.find(keys, this.#found)
    else if (verb === 'findOrInsert') this.table.findOrInsert(keys, this.#found, stamp)
    else if (verb === 'assign') this.table.assign(keys, vectors, stamp)
    else if (verb === 'applyGradients') {
      this.table.applyGradients(keys, vectors, occurrences, stamp)
    } else this.table.erase(keys)
  }

  #refill(batches: readonly Batch[]): void {
    for (const batch of batches) this.act('findOrInsert', batch)
  }

  /** Most keys are rare and a few are frequent; half of the batches are seen again later. */
  #spreadScores(batches: readonly Batch[], seed: number): void {
    const random = seededRandom(seed)
    for (const { keys, vectors, occurrences } of batches) {
      if (random.next() < 0.5) continue
      this.#version += 1
      const spread = occurrences.map(() => Math.floor(1 / (random.next() + 1e-5)))
      const stamp = { time: this.#version * 1000, version: this.#version }
      this.table.applyGradients(keys, vectors, spread, stamp)
    }
  }
}

/** Repeats a step until it returns false. */
export function timeSteps(step: () => boolean): Steps {
  let [total, longest, longestCpu] = [0, 0, 0]
  for (let more = true; more;) {
    const [started, cpu] = [performance.now(), cpuMs()]
    more = step()
    longestCpu = Math.max(longestCpu, cpuMs() - cpu)
    const ms = performance.now() - started
    total += ms
    longest = Math.max(longest, ms)
  }
  return { total, longest, longestCpu }
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}
