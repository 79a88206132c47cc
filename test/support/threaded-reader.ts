/** An event log reader whose every call happens in a worker thread, as the trainer's do. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import { ServiceError } from '../../src/base/errors.ts'
import type { EventLogReader, LogBatch, Position, ReadOptions } from '../../src/stream/event-log.ts'
import type { ReaderCall } from './log-reader-worker.ts'

export class ThreadedReader implements EventLogReader {
  readonly #worker: Worker
  readonly #calls = new Map<number, (answer: Answer) => void>()
  #next = 0

  constructor(options: { readonly directory: string; readonly endSignal: SharedArrayBuffer }) {
    const url = new URL('./log-reader-worker.ts', import.meta.url)
    this.#worker = new Worker(url, { workerData: options })
    this.#worker.on('message', (answer: Answer) => {
      this.#calls.get(answer.id)?.(answer)
      this.#calls.delete(answer.id)
    })
  }

  read(from: Position, { signal, ...options }: ReadOptions): Promise<readonly LogBatch[]> {
    const id = this.#next
    const reading = this.#call<readonly LogBatch[]>({ verb: 'read', from, options })
    const abort = (): void => this.#post({ id, verb: 'abort' })
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
    return reading
  }

  end(): Promise<Position> {
    return this.#call({ verb: 'end' })
  }

  start(): Promise<Position> {
    return this.#call({ verb: 'start' })
  }

  compare(a: string, b: string): number {
    return Number(a) - Number(b)
  }

  close(): Promise<void> {
    return this.#call({ verb: 'close' })
  }

  async terminate(): Promise<void> {
    const ended = once(this.#worker, 'exit')
    await this.#worker.terminate()
    await ended
  }

  #call<Result>(call: Verb): Promise<Result> {
    const id = this.#next
    this.#next += 1
    this.#post({ id, ...call })
    return new Promise((resolve, reject) => {
      this.#calls.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result as Result)
        else reject(new ServiceError(error.code, error.details))
      })
    })
  }

  #post(call: ReaderCall): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(call)
  }
}

type Verb = ReaderCall extends infer Call
  ? Call extends unknown
    ? Omit<Call, 'id'>
    : never
  : never

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: Pick<ServiceError, 'code' | 'details'>
}
