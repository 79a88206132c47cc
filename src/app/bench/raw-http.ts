/**
 * The smallest HTTP/1.1 client that can load a server on the same machine: keep-alive connections
 * over plain sockets, one request at a time each, bodies by content-length. A general client costs
 * more than the server that it is to measure; so of an answer only the status is looked at until
 * somebody asks for its body, and a request is one promise.
 */
import { connect, type Socket } from 'node:net'

export class Answer {
  readonly status: number
  readonly #bytes: Buffer

  constructor(status: number, bytes: Buffer) {
    this.status = status
    this.#bytes = bytes
  }

  get body(): string {
    return this.#bytes.toString('utf8')
  }
}

interface Exchange {
  readonly request: string
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

const headerEnd = Buffer.from('\r\n\r\n')
const noBytes = Buffer.alloc(0)

interface ConnectionOptions {
  readonly host: string
  readonly port: number
  /** The exchange is over, well or not. */
  readonly onEnd: (connection: Connection) => void
}

/** One connection; the next request is written when the answer to the last has come. */
class Connection {
  readonly #socket: Socket
  readonly #onEnd: (connection: Connection) => void
  #received: Buffer = noBytes
  #exchange: Exchange | undefined
  #failed: Error | undefined

  constructor({ host, port, onEnd }: ConnectionOptions) {
    this.#onEnd = onEnd
    this.#socket = connect({ host, port, noDelay: true })
    this.#socket.on('data', (bytes) => this.#take(bytes))
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('connection closed')))
  }

  get failed(): boolean {
    return this.#failed !== undefined
  }

  send(exchange: Exchange): void {
    this.#exchange = exchange
    this.#socket.write(exchange.request)
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
    const end = this.#received.indexOf(headerEnd)
    if (end < 0) return
    const head = this.#received.toString('latin1', 0, end)
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN)
    if (Number.isNaN(length)) {
      this.#fail(new Error('an answer without content-length'))
      return
    }
    const from = end + headerEnd.length
    const to = from + length
    if (this.#received.length < to) return
    const answer = new Answer(Number(head.slice(9, 12)), this.#received.subarray(from, to))
    this.#received = this.#received.length === to ? noBytes : this.#received.subarray(to)
    this.#end((exchange) => exchange.resolve(answer))
  }

  #fail(error: Error): void {
    this.#failed ??= error
    this.#socket.destroy()
    this.#end((exchange) => exchange.reject(error))
  }

  #end(tell: (exchange: Exchange) => void): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    this.#exchange = undefined
    tell(exchange)
    this.#onEnd(this)
  }
}

/** A bounded set of connections; a request waits for a free one. Not more than `maxQueued` wait. */
export class RawHttpClient {
  readonly #host: string
  readonly #port: number
  readonly #maxConnections: number
  readonly #maxQueued: number
  readonly #idle: Connection[] = []
  readonly #waiting: Exchange[] = []
  #open = 0

  constructor(
    address: string,
    options: { readonly maxConnections: number; readonly maxQueued: number },
  ) {
    const { hostname, port } = new URL(address)
    this.#host = hostname
    this.#port = Number(port)
    this.#maxConnections = options.maxConnections
    this.#maxQueued = options.maxQueued
  }

  /** Rejects when too many wait already, or the connection breaks. */
  request(method: string, path: string, body?: string): Promise<Answer> {
    const request = this.#format(method, path, body)
    return new Promise((resolve, reject) => this.#begin({ request, resolve, reject }))
  }

  close(): void {
    for (const connection of this.#idle.splice(0)) connection.close()
  }

  #format(method: string, path: string, body?: string): string {
    const start = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}:${this.#port}\r\n`
    if (body === undefined) return `${start}\r\n`
    const length = Buffer.byteLength(body)
    return `${start}content-type: application/json\r\ncontent-length: ${length}\r\n\r\n${body}`
  }

  #begin(exchange: Exchange): void {
    const connection = this.#free()
    if (connection !== undefined) connection.send(exchange)
    else if (this.#waiting.length < this.#maxQueued) this.#waiting.push(exchange)
    else exchange.reject(new Error('too many requests wait for a connection'))
  }

  #free(): Connection | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (!idle.failed) return idle
      this.#open -= 1
    }
    if (this.#open >= this.#maxConnections) return undefined
    this.#open += 1
    const onEnd = (connection: Connection): void => this.#release(connection)
    return new Connection({ host: this.#host, port: this.#port, onEnd })
  }

  #release(connection: Connection): void {
    if (connection.failed) this.#open -= 1
    else this.#idle.push(connection)
    const next = this.#waiting.shift()
    if (next !== undefined) this.#begin(next)
  }
}
