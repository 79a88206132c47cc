/**
 * Request bodies: JSON as a whole, NDJSON line by line. Both are bounded in bytes and in depth,
 * must be UTF-8, and must not name `__proto__`. A body that is too large is read to its end (up
 * to a bound) before it is refused: a client that still sends would otherwise lose the answer.
 */
import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'

import { assert } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'

/** Arrays and objects within each other. */
const maxDepth = 32

/** A refused body is read on for so many times its limit. */
const patience = 16

/** The value of a JSON text; undefined for an empty one. Throws `BODY_INVALID`. */
export function parseJson(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined
  if (!isUtf8(bytes)) throw invalid('UTF-8', 'a byte sequence is none')
  if (isDeeperThan(bytes, maxDepth)) {
    throw invalid('JSON', `nested deeper than ${maxDepth} levels`)
  }
  const text = bytes.toString('utf8')
  const value = parse(text)
  // `\u00` can hide a letter of the name: then every key is looked at.
  if ((text.includes('__proto__') || text.includes('\\u00')) && namesPrototype(value)) {
    throw invalid('JSON', '"__proto__" is not a name')
  }
  return value
}

/** All of a stream. Rejects with `BODY_TOO_LARGE`, and `BODY_INVALID` when it breaks off. */
export function collect(stream: Readable, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    // A stream closes after its end as well.
    const breakOff = (): void => {
      if (!stream.readableEnded) reject(brokenOff())
    }
    const end = (): void => resolve(Buffer.concat(chunks, length))
    const keep = (chunk: Buffer): void => {
      length += chunk.length
      chunks.push(chunk)
      if (length <= limitBytes) return
      stream.off('data', keep).off('end', end).off('close', breakOff)
      void discard(stream, limitBytes * patience).then(() => reject(tooLarge(limitBytes)))
    }
    stream.on('data', keep).on('end', end).on('close', breakOff).on('error', breakOff)
  })
}

/** Reads on and forgets, until the end or `limitBytes`. Never rejects. */
function discard(stream: Readable, limitBytes: number): Promise<void> {
  return new Promise((resolve) => {
    let length = 0
    const stop = (): void => {
      stream.off('data', count)
      resolve()
    }
    const count = (chunk: Buffer): void => {
      length += chunk.length
      if (length > limitBytes) stop()
    }
    if (stream.readableEnded || stream.destroyed) return stop()
    stream.on('data', count).on('end', stop).on('error', stop).on('close', stop)
  })
}

export interface LineLimits {
  readonly bodyBytes: number
  readonly lineBytes: number
}

/**
 * The lines that are complete with each chunk of a stream, blank ones left out. Throws
 * `BODY_TOO_LARGE` for the body or a line of it, and `BODY_INVALID` when it breaks off.
 */
export async function* lines(
  stream: Readable,
  limits: LineLimits,
): AsyncGenerator<readonly Buffer[]> {
  const splitter = new LineSplitter(limits.lineBytes)
  let length = 0
  try {
    // The stream is the request: destroying it would take the answer's way with it.
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      assert(Buffer.isBuffer(chunk), 'a request stream gives bytes')
      length += chunk.length
      if (length > limits.bodyBytes) throw tooLarge(limits.bodyBytes)
      yield splitter.push(chunk)
    }
  } catch (error) {
    await discard(stream, limits.bodyBytes * patience)
    throw error instanceof ServiceError ? error : brokenOff()
  }
  yield splitter.finish()
}

/** Cuts at line feeds; what stands after the last one waits for the next chunk. */
class LineSplitter {
  readonly #limitBytes: number
  #rest: Buffer[] = []
  #restBytes = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  push(chunk: Buffer): readonly Buffer[] {
    const complete: Buffer[] = []
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      this.#keep(chunk.subarray(from, at))
      complete.push(this.#take())
      from = at + 1
    }
    this.#keep(chunk.subarray(from))
    return complete.filter(isNotBlank)
  }

  finish(): readonly Buffer[] {
    return [this.#take()].filter(isNotBlank)
  }

  #keep(part: Buffer): void {
    this.#restBytes += part.length
    if (this.#restBytes > this.#limitBytes) throw tooLarge(this.#limitBytes)
    if (part.length > 0) this.#rest.push(part)
  }

  #take(): Buffer {
    const line = this.#rest.length === 1 ? this.#rest[0] : Buffer.concat(this.#rest)
    this.#rest = []
    this.#restBytes = 0
    return line ?? Buffer.alloc(0)
  }
}

/** Space, tab and carriage return alone. */
const isNotBlank = (line: Buffer): boolean =>
  line.some((byte) => byte !== 32 && byte !== 9 && byte !== 13)

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid('JSON', error instanceof Error ? error.message : 'not parsable')
  }
}

const tooLarge = (limit: number): ServiceError => new ServiceError('BODY_TOO_LARGE', { limit })

const brokenOff = (): ServiceError => invalid('complete', 'the connection was closed')

const invalid = (expected: string, reason: string): ServiceError =>
  new ServiceError('BODY_INVALID', { expected, reason })

/** Counts brackets outside of strings: no recursion, so no depth is too deep for it. */
function isDeeperThan(bytes: Buffer, limit: number): boolean {
  let depth = 0
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]
    if (byte === 0x22) at = endOfString(bytes, at)
    else if (byte === 0x5b || byte === 0x7b) depth += 1
    else if (byte === 0x5d || byte === 0x7d) depth -= 1
    if (depth > limit) return true
  }
  return false
}

/** Where the string that starts at a quote ends: at its closing quote, or the end of the text. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1
  while (at < bytes.length && bytes[at] !== 0x22) at += bytes[at] === 0x5c ? 2 : 1
  return at
}

/** Whether any object has its own `__proto__`. The depth is bounded before. */
function namesPrototype(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Object.hasOwn(value, '__proto__')) return true
  return Object.values(value).some((inner) => namesPrototype(inner))
}
