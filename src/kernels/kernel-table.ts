/** Kernels by number, so that a call can be described in shared memory. */
import { present } from '../base/assert.ts'
import type { KernelName, Kernels } from './kernels.ts'

/** One call as it is shared out; see `ThreadPool`. */
export interface Call {
  readonly kernel: number
  /** All but the range. */
  readonly operands: readonly number[]
  readonly count: number
  /** Units in each share: thread t has [t share, (t + 1) share), cut off at count. */
  readonly share: number
}

export interface KernelTable {
  indexOf(name: KernelName): number
  /** Runs the part of the call that falls to a thread, which may be nothing. */
  runShare(call: Call, thread: number): void
}

/** Threads that loaded the same implementation give every kernel the same number. */
export function kernelTable(kernels: Kernels): KernelTable {
  const entries = Object.entries(kernels).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const indices = new Map(entries.map(([name], index) => [name, index]))
  const functions = entries.map(([, kernel]) => kernel)
  return {
    indexOf: (name) => present(indices.get(name), name),
    runShare: ({ kernel, operands, count, share }, thread) => {
      const from = Math.min(thread * share, count)
      const to = Math.min(from + share, count)
      if (from < to) Reflect.apply(functions[kernel], undefined, [...operands, from, to])
    },
  }
}
