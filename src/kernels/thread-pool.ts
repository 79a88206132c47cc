/**
 * Threads that share the work of one kernel call: the output is cut into several shares for each
 * thread, and whoever is awake takes one after the other, this thread from the first on and workers
 * from the last, until none is left. Every kernel gives the same bits however it is cut and whoever
 * computes what, so the threads are a matter of speed alone: one that sleeps or has lost its core
 * is not waited for unless it is in the middle of a share.
 *
 * A call costs a few microseconds when the workers are still awake from the one before and tens of
 * microseconds when they sleep: `grain` keeps small calls to this thread. A call may also be left
 * to the workers while this thread does something else, and takes part in what is left of it later.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import { assert } from '../base/assert.ts'
import { ServiceError } from '../base/errors.ts'
import type { Arena } from './arena.ts'
import { type Call, type KernelTable, kernelTable } from './kernel-table.ts'
import type { WorkerTask } from './kernel-worker.ts'
import {
  type KernelOptions,
  type Kernels,
  kernelSite,
  loadKernels,
  type SplitKernelName,
  type SplitOperands,
} from './kernels.ts'
import { PoolControl, stop } from './pool-control.ts'

export interface ThreadPoolOptions extends KernelOptions {
  /** Including the one that calls; 1 makes plain calls and starts nothing. */
  readonly threads: number
  /** How long a call may take before its workers count as lost, in seconds. */
  readonly patienceSeconds?: number
}

/** Shares begin at multiples of this: whole vectors, whole tiles. */
const granularity = 4
/** For each thread: more, and shares begin more often; fewer, and the last one is waited for. */
const sharesPerThread = 8
const maximumThreads = 64
const nothing = (): void => {}

/**
 * Invariants: one call at a time, by the thread that made the pool; after a failure the memory may
 * hold half a result, so every later call fails too.
 */
export class ThreadPool {
  readonly threads: number
  /** This thread's own kernels, for what is not worth sharing. */
  readonly kernels: Kernels
  readonly #table: KernelTable
  readonly #control = new PoolControl()
  readonly #patience: number
  readonly #workers: Worker[] = []
  #isUnderWay = false
  /** Why no call is possible any more. */
  #ended: { readonly thread: number; readonly reason: string } | undefined

  /** Resolves when every thread is ready. Throws `KERNELS_UNAVAILABLE`, `MEMORY_EXHAUSTED`. */
  static async create(arena: Arena, options: ThreadPoolOptions): Promise<ThreadPool> {
    const pool = new ThreadPool(arena, options)
    try {
      for (let thread = 1; thread < pool.threads; thread += 1) {
        const site = kernelSite(arena, options, thread)
        pool.#start({ thread, site, control: pool.#control.buffer })
      }
      await Promise.all(pool.#workers.map((worker) => once(worker, 'message')))
      // A pool that was forgotten does not keep the process alive.
      for (const worker of pool.#workers) worker.unref()
    } catch (error) {
      await pool.close()
      throw error
    }
    return pool
  }

  private constructor(arena: Arena, options: ThreadPoolOptions) {
    const { threads, patienceSeconds = 60 } = options
    assert(threads >= 1 && threads <= maximumThreads, `a pool has 1 to ${maximumThreads} threads`)
    this.threads = threads
    this.kernels = loadKernels(arena, options)
    this.#table = kernelTable(this.kernels)
    this.#patience = patienceSeconds
  }

  /**
   * The kernel over the range [0, count) of its output, in shares of `grain` units or a multiple;
   * while a call that was begun is under way, by this thread alone. Throws `KERNEL_WORKER_LOST`.
   */
  run<Name extends SplitKernelName>(
    name: Name,
    operands: SplitOperands<Name>,
    count: number,
    grain = granularity,
  ): void {
    if (!this.#isUnderWay) return this.begin(name, operands, count, grain)()
    this.#table.run({ kernel: this.#table.indexOf(name), operands, count, share: count })
  }

  /**
   * The same, by the workers alone as far as they come until what is returned is called, which has
   * to be before the next is begun. Meanwhile nothing changes what the kernel reads, or reads what
   * it writes. What is kept to this thread is over when this returns.
   */
  begin<Name extends SplitKernelName>(
    name: Name,
    operands: SplitOperands<Name>,
    count: number,
    grain = granularity,
  ): () => void {
    assert(!this.#isUnderWay, 'one call at a time')
    if (this.#ended !== undefined) this.#fail(name, this.#ended)
    const kernel = this.#table.indexOf(name)
    const unit = Math.ceil(grain / granularity) * granularity
    const parts = this.threads * sharesPerThread
    const share = unit * Math.max(1, Math.ceil(count / parts / unit))
    const call = { kernel, operands, count, share }
    if (share >= count || this.threads === 1) {
      this.#table.run(call)
      return nothing
    }
    this.#isUnderWay = true
    this.#control.publish(call)
    return () => this.#finish(name, call)
  }

  /** Ends the threads. Idempotent; a call after it throws. */
  async close(): Promise<void> {
    this.#ended ??= { thread: 0, reason: 'the pool is closed' }
    this.#control.publish({ kernel: stop, operands: [], count: 0, share: 1 })
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }

  #start(task: WorkerTask): void {
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
    const file = new URL(`./kernel-worker${extension}`, import.meta.url)
    const worker = new Worker(file, { workerData: task, execArgv: [] })
    const { thread } = task
    worker.on('error', (error) => (this.#ended ??= { thread, reason: String(error) }))
    worker.on('exit', () => (this.#ended ??= { thread, reason: 'the thread has ended' }))
    this.#workers.push(worker)
  }

  #finish(name: string, call: Call): void {
    this.#isUnderWay = false
    try {
      this.#table.runShares(call, this.#control)
    } finally {
      this.#await(name)
    }
  }

  #await(name: string): void {
    const finished = this.#control.finished(this.#patience)
    const failure = this.#control.failure()
    if (failure !== undefined) this.#fail(name, failure)
    if (finished) return
    this.#fail(name, { thread: 0, reason: `not done after ${this.#patience} s` })
  }

  #fail(kernel: string, why: { readonly thread: number; readonly reason: string }): never {
    this.#ended = why
    throw new ServiceError('KERNEL_WORKER_LOST', { ...why, threads: this.threads, kernel })
  }
}
