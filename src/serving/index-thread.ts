/**
 * The live index's second thread: grows trees, answers audits and saves the index, all on the
 * index's shared memory, while this thread answers queries. Started when it is first needed; a
 * small catalogue never does.
 */
import { Worker } from 'node:worker_threads'

import type { Answers, Background, Order } from '../ann/background.ts'
import type { IndexSite } from '../ann/index-memory.ts'
import type { PartitionedIndex } from '../ann/partitioned-index.ts'
import { present } from '../base/assert.ts'
import { ServiceError } from '../base/errors.ts'
import type { SharedLedger } from './index-ledger.ts'
import type { SaveOrder } from './index-save.ts'

/** `seal`: every change that was begun before is marked. */
export type ThreadOrder =
  | { readonly kind: 'order'; readonly order: Order }
  | { readonly kind: 'save'; readonly save: SaveOrder }
  | { readonly kind: 'seal' }

export type ThreadReply =
  | { readonly kind: 'answers'; readonly answers: Answers }
  | { readonly kind: 'copied' }
  | { readonly kind: 'saved' }
  | { readonly kind: 'notSaved'; readonly reason: string }

interface Saving {
  readonly worker: Worker
  readonly index: PartitionedIndex
  readonly path: string
  readonly done: PromiseWithResolvers<void>
}

/** Invariant: at most one order and one save are under way; `#answers` is of the last order. */
export class IndexThread implements Background {
  #site: IndexSite | undefined
  #worker: Worker | undefined
  #answers: Answers | undefined
  #isBusy = false
  #saving: Saving | undefined
  /** Why there is no thread any more. */
  #ended: string | undefined

  /** The next order starts another thread: this one's heap may hold on to the memory left. */
  open(site: IndexSite): void {
    const worker = this.#worker
    this.#site = site
    this.#worker = undefined
    // One that finishes a save ends by itself.
    if (worker !== undefined && this.#saving === undefined) void worker.terminate()
  }

  /** Whether something is under way, or done and not taken. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  begin(order: Order): void {
    this.#isBusy = true
    this.#running().postMessage({ kind: 'order', order } satisfies ThreadOrder, [])
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

  /**
   * Saves the index whose thread this is, while it changes; one save at a time. Rejects with
   * `INDEX_NOT_SAVED`, after which the file saved before is still there.
   */
  save(index: PartitionedIndex, path: string, ledger: SharedLedger): Promise<void> {
    if (this.#saving !== undefined) return this.#saving.done.promise
    if (this.#ended !== undefined) {
      return Promise.reject(
        new ServiceError('INDEX_NOT_SAVED', { file: path, reason: this.#ended }),
      )
    }
    const done = Promise.withResolvers<void>()
    const worker = this.#running()
    worker.postMessage(
      { kind: 'save', save: { path, point: index.beginSave(), ledger } } satisfies ThreadOrder,
      [],
    )
    // A process that ends waits for it.
    worker.ref()
    this.#saving = { worker, index, path, done }
    return done.promise
  }

  /** Idempotent; what was under way is not finished. */
  async close(): Promise<void> {
    this.#end('the thread is closed')
    await this.#worker?.terminate()
  }

  #running(): Worker {
    this.#worker ??= this.#start(present(this.#site, 'an index that uses the thread'))
    return this.#worker
  }

  #start(workerData: IndexSite): Worker {
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
    const file = new URL(`./index-thread-worker${extension}`, import.meta.url)
    const worker = new Worker(file, { workerData, execArgv: [] })
    worker.on('message', (reply: ThreadReply) => this.#hear(worker, reply))
    worker.on('error', (error) => this.#lose(worker, String(error)))
    worker.on('exit', () => this.#lose(worker, 'the thread has ended'))
    // An index that was forgotten does not keep the process alive.
    worker.unref()
    return worker
  }

  #hear(worker: Worker, reply: ThreadReply): void {
    if (reply.kind === 'answers') this.#answers = reply.answers
    else if (reply.kind === 'copied') this.#seal()
    else this.#endSave(reply.kind === 'saved' ? undefined : reply.reason)
    if (worker !== this.#worker) void worker.terminate()
  }

  /** No change is half made now: messages come between them. */
  #seal(): void {
    this.#saving?.index.endSave()
    this.#saving?.worker.postMessage({ kind: 'seal' } satisfies ThreadOrder, [])
  }

  #endSave(reason: string | undefined): void {
    if (this.#saving === undefined) return
    const { worker, index, path, done } = this.#saving
    this.#saving = undefined
    worker.unref()
    index.endSave()
    if (reason === undefined) done.resolve()
    else done.reject(new ServiceError('INDEX_NOT_SAVED', { file: path, reason }))
  }

  #lose(worker: Worker, reason: string): void {
    if (worker === this.#worker) this.#end(reason)
    else if (worker === this.#saving?.worker) this.#endSave(reason)
  }

  #end(reason: string): void {
    this.#ended ??= reason
    this.#endSave(this.#ended)
  }
}
