/**
 * The smallest HTTP/1.1 client that can load a server on the same machine: keep-alive connections
 * over plain sockets, one request at a time each, bodies by content-length. A general client costs
 * more than the server that it is to measure.
 */
import { connect, type Socket } from 'node:net'

export interface Answer {
  readonly status: number
  readonly body: string
}

interface Exchange {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

const headerEnd = Buffer.from('\r\n\r\n')
const noBytes = Buffer.alloc(0)

/** One connection; the next request is written when the answer to the last has come. */
class Connection {
  readonly #socket: Socket
  #received: Buffer = noBytes
  #exchange: Exchange | undefined
  #failed: Error | undefined

  constructor(host: string, port: number) {
    this.#socket = connect({ host, port, noDelay: true })
    this.#socket.on('data', (bytes) => this.#take(bytes))
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('connection closed')))
  }

  get failed(): boolean {
    return this.#failed !== undefined
  }

  send(request: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#failed !== undefined) {
        reject(this.#failed)
        return
      }
      this.#exchange = { resolve, reject }
      this.#socket.write(request)
    })
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
    if (this.#received.length < from + length) return
    const body = this.#received.toString('utf8', from, from + length)
    this.#received = this.#received.subarray(from + length)
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.resolve({ status: Number(head.slice(9, 12)), body })
  }

  #fail(error: Error): void {
    this.#failed ??= error
    this.#exchange?.reject(error)
    this.#exchange = undefined
    this.#socket.destroy()
  }
}

/** A bounded set of connections; a request waits for a free one. Not more than `maxQueued` wait. */
export class RawHttpClient {
  readonly #host: string
  readonly #port: number
  readonly #maxConnections: number
  readonly #maxQueued: number
  readonly #idle: Connection[] = []
  readonly #waiting: (() => void)[] = []
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
  async request(method: string, path: string, body?: string): Promise<Answer> {
    const request = this.#format(method, path, body)
    const connection = await this.#acquire()
    try {
      return await connection.send(request)
    } finally {
      this.#release(connection)
    }
  }

  close(): void {
    for (const connection of this.#idle.splice(0)) connection.close()
  }

  #format(method: string, path: string, body?: string): Buffer {
    const start = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}:${this.#port}\r\n`
    if (body === undefined) return Buffer.from(`${start}\r\n`)
    const length = Buffer.byteLength(body)
    const type = 'content-type: application/json\r\n'
    return Buffer.from(`${start}${type}content-length: ${length}\r\n\r\n${body}`)
  }

  async #acquire(): Promise<Connection> {
    for (;;) {
      const idle = this.#idle.pop()
      if (idle !== undefined && !idle.failed) return idle
      if (idle !== undefined) {
        this.#open -= 1
      } else if (this.#open < this.#maxConnections) {
        this.#open += 1
        return new Connection(this.#host, this.#port)
      } else if (this.#waiting.length >= this.#maxQueued) {
        throw new Error('too many requests wait for a connection')
      } else {
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
      }
    }
  }

  #release(connection: Connection): void {
    if (connection.failed) this.#open -= 1
    else this.#idle.push(connection)
    this.#waiting.shift()?.()
  }
}
