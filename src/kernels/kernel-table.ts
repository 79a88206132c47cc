/** Kernels by number, so that a call can be described in shared memory. */
import { present } from '../base/assert.ts'
import type { KernelName, Kernels } from './kernels.ts'

/** One call as it is shared out; see `ThreadPool`. */
export interface Call {
  readonly kernel: number
  /** All but the range. */
  readonly operands: readonly number[]
  readonly count: number
  /** Units in each share: the i-th is [i share, (i + 1) share), cut off at count. */
  readonly share: number
}

/** Hands out the shares of a call, each once, and then -1. */
interface Shares {
  claim(shares: number): number
}

export interface KernelTable {
  indexOf(name: KernelName): number
  /** The whole call. */
  run(call: Call): void
  /** One share after the other, as long as there is one. */
  runShares(call: Call, shares: Shares): void
}

/** Threads that loaded the same implementation give every kernel the same number. */
export function kernelTable(kernels: Kernels): KernelTable {
  const entries = Object.entries(kernels).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const indices = new Map(entries.map(([name], index) => [name, index]))
  const functions = entries.map(([, kernel]) => kernel)
  const list: number[] = []
  /** The operands with room for a range behind them, in an array that all calls share. */
  const prepare = ({ operands }: Call): number => {
    const { length } = operands
    list.length = length + 2
    for (let i = 0; i < length; i += 1) list[i] = operands[i]
    return length
  }
  return {
    indexOf: (name) => present(indices.get(name), name),
    run: (call) => {
      const range = prepare(call)
      list[range] = 0
      list[range + 1] = call.count
      if (call.count > 0) Reflect.apply(functions[call.kernel], undefined, list)
    },
    runShares: (call, shares) => {
      const { count, share } = call
      const range = prepare(call)
      const all = Math.ceil(count / share)
      for (let next = shares.claim(all); next >= 0; next = shares.claim(all)) {
        const from = next * share
        list[range] = from
        list[range + 1] = Math.min(from + share, count)
        Reflect.apply(functions[call.kernel], undefined, list)
      }
    },
  }
}
