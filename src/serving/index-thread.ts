/**
 * The live index's second thread: grows trees and answers audits on the index's shared memory while
 * this thread answers queries. Started when it is first needed; a small catalogue never does.
 */
import { Worker } from 'node:worker_threads'

import type { Answers, Background, Order } from '../ann/background.ts'
import type { IndexSite } from '../ann/index-memory.ts'
import { present } from '../base/assert.ts'
import { ServiceError } from '../base/errors.ts'

/** Invariant: at most one order is under way, and `#answers` is of the last one. */
export class IndexThread implements Background {
  #site: IndexSite | undefined
  #worker: Worker | undefined
  #answers: Answers | undefined
  #isBusy = false
  /** Why there is no thread any more. */
  #ended: string | undefined

  open(site: IndexSite): void {
    this.#site = site
  }

  /** Whether something is under way, or done and not taken. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  begin(order: Order): void {
    this.#isBusy = true
    this.#worker ??= this.#start(present(this.#site, 'an index that uses the thread'))
    this.#worker.postMessage(order, [])
  }

  /** Nothing of it is done by the thread that answers. */
  step(): number {
    return 0
  }

  /** Throws `KERNEL_WORKER_LOST`. */
  take(): Answers | undefined {
    if (this.#ended !== undefined) {
      const details = { kernel: 'the index', thread: 1, threads: 2, reason: this.#ended }
      throw new ServiceError('KERNEL_WORKER_LOST', details)
    }
    const answers = this.#answers
    if (answers === undefined) return undefined
    this.#answers = undefined
    this.#isBusy = false
    return answers
  }

  /** Idempotent; what was under way is not finished. */
  async close(): Promise<void> {
    this.#ended ??= 'the thread is closed'
    await this.#worker?.terminate()
  }

  #start(workerData: IndexSite): Worker {
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
    const file = new URL(`./index-thread-worker${extension}`, import.meta.url)
    const worker = new Worker(file, { workerData, execArgv: [] })
    worker.on('message', (answers: Answers) => (this.#answers = answers))
    worker.on('error', (error) => (this.#ended ??= String(error)))
    worker.on('exit', () => (this.#ended ??= 'the thread has ended'))
    // An index that was forgotten does not keep the process alive.
    worker.unref()
    return worker
  }
}
