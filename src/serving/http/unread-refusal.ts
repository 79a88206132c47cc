/**
 * Turns requests away before they are parsed. Parsing one and answering it through `node:http`
 * costs twice what the two calls of the system do, and while three times as much is asked as can be
 * answered that is what the answers lack. So a connection that has been refused once is watched:
 * while there is too much to do, whatever is plainly a whole request without a body is answered
 * with a text made once; all else goes to the parser as ever.
 *
 * Only connections that were refused pay for it: their bytes take the way through JavaScript.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface UnreadParts {
  /** The whole answer to a request that must be turned away; undefined: it may go on. */
  readonly refusal: (path: string, requestId: string | undefined) => string | undefined
}

/** One request line and headers, nothing before or behind, and no header that says more comes. */
const plainGet = /^GET (\/[^ ?]*)(?:\?[^ ]*)? HTTP\/1\.1\r\n/
const saysMore =
  /\n[ \t]*(?:content-length|transfer-encoding|upgrade|expect|connection(?!: keep-alive\r))/i
const givenId = /\nx-request-id: *([\w.:-]{1,64})\r/i
const headEnd = '\r\n\r\n'
const letterG = 0x47

const hasBody = ({ method, headers }: IncomingMessage): boolean =>
  method !== 'GET' || 'content-length' in headers || 'transfer-encoding' in headers

/**
 * Invariant: bytes are kept from the parser only while it waits for a request line and owes no
 * answer. Whoever sends anything but whole requests without a body is left to the parser for good:
 * what looks like a request may then be a part of something else.
 */
export class WatchedConnection {
  readonly #socket: Socket
  readonly #parts: UnreadParts
  #underWay = 0
  #isPlain = true
  #isWatched = false

  constructor(socket: Socket, parts: UnreadParts) {
    this.#socket = socket
    this.#parts = parts
  }

  /** A request has been parsed; `response` closes when it is answered. */
  began(request: IncomingMessage, response: ServerResponse): void {
    if (hasBody(request)) this.#isPlain = false
    if (!this.#isPlain) return
    this.#underWay += 1
    response.once('close', () => {
      this.#underWay -= 1
      // Not from within the parser, which may have called us.
      if (!this.#isWatched) setImmediate(() => this.#watch())
    })
  }

  #watch(): void {
    if (this.#isWatched || !this.#isPlain || this.#socket.destroyed) return
    this.#isWatched = true
    const [parse] = this.#socket.listeners('data')
    if (parse === undefined) return
    this.#socket.removeAllListeners('data')
    this.#socket.on('data', (bytes: Buffer) => {
      const refusal = this.#isPlain ? this.#refusal(bytes) : undefined
      if (refusal === undefined) Reflect.apply(parse, this.#socket, [bytes])
      else this.#socket.write(refusal, 'latin1')
    })
  }

  #refusal(bytes: Buffer): string | undefined {
    const head = bytes[0] === letterG ? bytes.toString('latin1') : ''
    const path = plainGet.exec(head)?.[1]
    const isWhole = head.indexOf(headEnd) === head.length - headEnd.length
    if (path === undefined || !isWhole || saysMore.test(head)) {
      this.#isPlain = false
      return undefined
    }
    // Answers keep the order of requests, and one who does not read them is not written to.
    if (this.#underWay > 0 || this.#socket.writableLength > 0) return undefined
    return this.#parts.refusal(path, givenId.exec(head)?.[1])
  }
}
