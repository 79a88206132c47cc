/**
 * Parameters between threads of one process: deltas as transferred buffers over message ports. Nothing
 * is retained: what a reader has not taken yet waits in its port, one that falls too far behind is
 * passed over, and whoever misses something gets everything anew.
 *
 * A reader asks with a number of its own. The answer is `follow`, when it stands where the writer does,
 * or a chain of `part`s with that number; deltas carry the number of the answer they come after. So a
 * reader can tell, even on a port that loses or doubles messages, that an answer did not come or came
 * in part, and asks again. It stands at the sequence of a chain only when the last part is applied.
 */
import type { MessagePort } from 'node:worker_threads'

import { ServiceError } from '../base/errors.ts'
import { decodeDelta, encodeDelta } from './delta-codec.ts'
import type { Delta } from './delta.ts'
import type { ParameterPublisher, ParameterSubscriber } from './parameter-sync.ts'

/** From the reader: send what follows `from` (0: nothing yet), or: one message has been taken. */
type Request =
  | { readonly kind: 'ask'; readonly from: number; readonly number: number }
  | { readonly kind: 'taken' }

type Bytes = Uint8Array<ArrayBuffer>

interface DeltaMessage {
  readonly kind: 'delta'
  readonly number: number
  readonly bytes: Bytes
}

interface PartMessage {
  readonly kind: 'part'
  readonly number: number
  readonly index: number
  readonly last: boolean
  readonly bytes: Bytes
}

/** From the writer. `behind`: deltas were passed over, ask. */
type Message =
  | DeltaMessage
  | PartMessage
  | { readonly kind: 'follow'; readonly number: number }
  | { readonly kind: 'behind' }

/** Messages that may wait in a port before its reader is passed over. */
const maxWaiting = 256
/** Deltas that an asking reader lets pass before it asks again. */
const patience = 16

interface Reader {
  readonly port: MessagePort
  /** Of the answer it was given last; 0: it has not asked yet and is sent nothing. */
  number: number
  /** Sent and not taken yet. */
  waiting: number
  behind: boolean
}

export class LocalPublisher implements ParameterPublisher {
  readonly #readers = new Set<Reader>()
  #snapshot: () => Iterable<Delta> = () => []
  /** Sequence last published or sent in an answer. */
  #sequence = 0
  #closed = false

  constructor(...ports: readonly MessagePort[]) {
    for (const port of ports) this.attach(port)
  }

  /** Serves one more reader, at the other end of the port. */
  attach(port: MessagePort): void {
    const reader: Reader = { port, number: 0, waiting: 0, behind: false }
    this.#readers.add(reader)
    port.on('message', (request: Request) => this.#hear(reader, request))
    port.on('close', () => this.#readers.delete(reader))
  }

  publish(delta: Delta): Promise<void> {
    if (this.#closed) return Promise.reject(new ServiceError('SYNC_CLOSED', { side: 'publisher' }))
    this.#sequence = delta.sequence
    const readers = [...this.#readers].filter(({ number }) => number > 0)
    if (readers.length === 0) return Promise.resolve()
    const encoded = encodeDelta(delta)
    for (const reader of readers) {
      reader.behind ||= reader.waiting >= maxWaiting
      if (reader.behind) continue
      // A buffer can be handed over once only.
      const bytes = readers.length === 1 ? encoded : encoded.slice()
      send(reader, { kind: 'delta', number: reader.number, bytes })
    }
    return Promise.resolve()
  }

  onResync(snapshot: () => Iterable<Delta>): void {
    this.#snapshot = snapshot
  }

  close(): Promise<void> {
    this.#closed = true
    for (const { port } of this.#readers) port.close()
    return Promise.resolve()
  }

  #hear(reader: Reader, request: Request): void {
    if (this.#closed) return
    if (request.kind === 'ask') {
      this.#answer(reader, request)
      return
    }
    reader.waiting = Math.max(0, reader.waiting - 1)
    if (reader.behind && reader.waiting === 0) send(reader, { kind: 'behind' })
  }

  #answer(reader: Reader, { from, number }: { from: number; number: number }): void {
    Object.assign(reader, { number, waiting: 0, behind: false })
    if (from > 0 && from === this.#sequence) {
      send(reader, { kind: 'follow', number })
      return
    }
    // One delta is held back, to know the last.
    let held: Delta | undefined
    let index = 0
    for (const delta of this.#snapshot()) {
      if (held !== undefined) {
        send(reader, { kind: 'part', number, index, last: false, bytes: encodeDelta(held) })
        index += 1
      }
      held = delta
    }
    if (held === undefined) return
    this.#sequence = held.sequence
    send(reader, { kind: 'part', number, index, last: true, bytes: encodeDelta(held) })
  }
}

function send(reader: Reader, message: Message): void {
  reader.waiting += 1
  reader.port.postMessage(message, 'bytes' in message ? [message.bytes.buffer] : [])
}

/** An answer that is awaited. */
interface Asked {
  readonly number: number
  /** The part that must come next. */
  next: number
  /** Deltas let pass meanwhile. */
  passed: number
}

export class LocalSubscriber implements ParameterSubscriber {
  readonly #port: MessagePort
  readonly #ended = Promise.withResolvers<void>()
  readonly #queue: Message[] = []
  #apply: (delta: Delta) => Promise<void> | void = () => {}
  /** Where the reader stands; 0 from the first part of a chain to its last. */
  #sequence = 0
  #number = 0
  #asked: Asked | undefined
  #busy = false
  #closed = false

  constructor(port: MessagePort) {
    this.#port = port
  }

  subscribe(fromSequence: number, apply: (delta: Delta) => Promise<void> | void): Promise<void> {
    this.#sequence = fromSequence
    this.#apply = apply
    this.#port.on('message', (message: Message) => {
      this.#queue.push(message)
      if (!this.#busy) void this.#work()
    })
    this.#port.on('close', () => this.#end())
    this.#ask()
    return this.#ended.promise
  }

  close(): Promise<void> {
    this.#end()
    return Promise.resolve()
  }

  async #work(): Promise<void> {
    this.#busy = true
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        this.#say({ kind: 'taken' })
        await this.#take(next)
      }
    } catch (error) {
      this.#ended.reject(error instanceof Error ? error : new Error(String(error)))
      this.#end()
    }
    this.#busy = false
  }

  #take(message: Message): Promise<void> | void {
    switch (message.kind) {
      case 'delta':
        return this.#asked === undefined ? this.#delta(message) : this.#pass(this.#asked, message)
      case 'part':
        return this.#part(message)
      case 'follow':
        if (message.number === this.#asked?.number) this.#asked = undefined
        return undefined
      case 'behind':
        return this.#ask()
    }
  }

  async #delta({ bytes }: DeltaMessage): Promise<void> {
    const delta = decodeDelta(bytes)
    if (delta.sequence <= this.#sequence) return
    if (delta.base !== this.#sequence && delta.base !== 0) {
      this.#ask()
      return
    }
    await this.#apply(delta)
    this.#sequence = delta.sequence
  }

  /** A delta while an answer is awaited: part of what the answer holds, or a sign that it is lost. */
  #pass(asked: Asked, { number }: DeltaMessage): void {
    asked.passed += 1
    if (number >= asked.number || asked.passed > patience) this.#ask()
  }

  async #part({ number, index, last, bytes }: PartMessage): Promise<void> {
    const asked = this.#asked
    if (asked === undefined || number !== asked.number || index < asked.next) return
    if (index > asked.next) {
      this.#ask()
      return
    }
    asked.next += 1
    this.#sequence = 0
    const delta = decodeDelta(bytes)
    await this.#apply(delta)
    if (!last) return
    this.#sequence = delta.sequence
    this.#asked = undefined
  }

  #ask(): void {
    this.#number += 1
    this.#asked = { number: this.#number, next: 0, passed: 0 }
    this.#say({ kind: 'ask', from: this.#sequence, number: this.#number })
  }

  #say(request: Request): void {
    if (!this.#closed) this.#port.postMessage(request, [])
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue.length = 0
    this.#port.close()
    this.#ended.resolve()
  }
}
