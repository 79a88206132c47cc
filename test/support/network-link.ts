/**
 * The network between one process and one server: a proxy that can be cut, with or without a word
 * to either end, and made slow.
 */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

const host = '127.0.0.1'

/** `reset`: connections break and none is taken. `silent`: nothing arrives any more. */
export type Cut = 'reset' | 'silent'

/** Invariant: what passes in one direction of a connection keeps its order. */
export class NetworkLink implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #cut: Cut | undefined
  #delayMs = 0
  /** Of the server behind it; to be set before anybody connects. */
  target = 0

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (client) => this.#join(client))
  }

  static async open(): Promise<NetworkLink> {
    const server = createServer().listen(0, host)
    await once(server, 'listening')
    return new NetworkLink(server)
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  cut(how: Cut): void {
    this.#cut = how
    if (how === 'reset') this.#breakAll()
  }

  /** From now on every piece takes so much longer. */
  slowDown(delayMs: number): void {
    this.#delayMs = delayMs
  }

  /** Connections that have lost something break. */
  heal(): void {
    if (this.#cut !== undefined) this.#breakAll()
    this.#cut = undefined
    this.#delayMs = 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#breakAll()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #breakAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(client: Socket): void {
    if (this.#cut === 'reset') {
      client.destroy()
      return
    }
    const server = connect(this.target, host)
    this.#carry(client, server)
    this.#carry(server, client)
  }

  #carry(from: Socket, to: Socket): void {
    const pending: Buffer[] = []
    const deliver = (): void => {
      const bytes = pending.shift()
      if (bytes !== undefined && !to.destroyed) to.write(bytes)
    }
    this.#sockets.add(from)
    from.setNoDelay(true)
    from.on('error', () => undefined)
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
    from.on('data', (bytes: Buffer) => {
      if (this.#cut !== undefined) return
      pending.push(bytes)
      if (this.#delayMs === 0 && pending.length === 1) deliver()
      else setTimeout(deliver, this.#delayMs)
    })
  }
}
