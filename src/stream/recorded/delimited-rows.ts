/**
 * Rows of delimited text, plain or gzip, as byte ranges of large chunks: nothing is made a string
 * that is not asked for. Fields may be quoted as in RFC 4180 (and then hold separators, line ends
 * and doubled quotes) where the separator is a comma, semicolon or tab.
 */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline, type Readable, Transform } from 'node:stream'
import { createGunzip } from 'node:zlib'

import { StringInterner } from '../../base/interner.ts'
import { unreadable } from '../files/segment-reader.ts'

export type Separator = ',' | ';' | '\t' | '|' | '::' | ' '

const newline = 0x0a
const carriageReturn = 0x0d
const quote = 0x22
const chunkBytes = 1 << 20

/** A row longer than this is not one: an unclosed quote, or no text at all. */
const maxRowBytes = 1 << 20
/** Nor is it read on for. */
const hopelessBytes = 1 << 26

/** The separator of a line of text, by what it holds. */
export function guessSeparator(line: string): Separator {
  const candidates = ['::', '\t', ',', ';', '|'] as const
  return candidates.find((separator) => line.includes(separator)) ?? ' '
}

/**
 * One pass over one file. The row at hand lies in `bytes` from `start` to `end`, until the next
 * call of `advance` or `more`. Blank lines are left out.
 */
export class RowReader {
  readonly #path: string
  readonly #chunks: AsyncIterator<Buffer>
  readonly #stream: Readable
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  /** Number of the line on which the row at hand ends, from 1. */
  line = 0
  #next = 0
  #done = false
  /** Set where fields may be quoted. */
  #separator: Separator | undefined
  /** Where the next quote stands, when that is not before the next row. */
  #quoteAt = -1

  private constructor(path: string, stream: Readable) {
    this.#path = path
    this.#stream = stream
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  /** `latin1`: each byte is a character of ISO 8859-1. Throws `LOG_UNREADABLE`. */
  static async open(path: string, encoding: 'utf8' | 'latin1' = 'utf8'): Promise<RowReader> {
    const text = await openText(path)
    return new RowReader(path, encoding === 'utf8' ? text : asUtf8(text))
  }

  /** Rows with quoted line ends are possible from here on. */
  set separator(separator: Separator) {
    this.#separator = mayQuote(separator) ? separator : undefined
  }

  /** Moves to the first row of the file; false when it has none. */
  async first(): Promise<boolean> {
    while (!this.advance()) if (!(await this.more())) return false
    return true
  }

  /** Lets the next `advance` give the row at hand again. */
  repeat(): void {
    this.#next = this.start
    this.line -= 1
  }

  /** The row at hand, for messages: what is no UTF-8 in it is replaced. */
  text(): string {
    return this.bytes.toString('utf8', this.start, this.end)
  }

  /** Moves to the next row that is wholly at hand; false: call `more` first. */
  advance(): boolean {
    for (;;) {
      const end = this.#rowEnd()
      if (end < 0) return false
      this.start = this.#next
      this.#next = end + 1
      this.end = end > this.start && this.bytes[end - 1] === carriageReturn ? end - 1 : end
      this.line += 1
      if (this.end > this.start) return true
    }
  }

  /** Reads on; false at the end of the file. */
  async more(): Promise<boolean> {
    if (this.#done) return false
    const rest = this.bytes.subarray(this.#next)
    if (rest.length > hopelessBytes) throw unreadable(this.#path, 'a line without an end')
    const isFirst = this.line === 0 && rest.length === 0
    const chunk = await this.#chunk()
    this.#next = 0
    this.#quoteAt = -1
    if (chunk !== undefined) {
      this.bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      if (isFirst && this.bytes.subarray(0, 3).equals(byteOrderMark)) this.#next = 3
      return true
    }
    this.#done = true
    // The last line may lack its end.
    this.bytes = Buffer.concat([rest, lineEnd])
    return rest.length > 0
  }

  close(): void {
    this.#stream.destroy()
  }

  async #chunk(): Promise<Buffer | undefined> {
    try {
      const { value, done } = await this.#chunks.next()
      return done === true ? undefined : value
    } catch (error) {
      throw unreadable(this.#path, error)
    }
  }

  /** Where the line end after the row stands; -1 when it is not in the chunk. */
  #rowEnd(): number {
    const end = this.bytes.indexOf(newline, this.#next)
    if (this.#separator === undefined || end < 0) return end
    if (this.#quoteAt < this.#next) {
      const at = this.bytes.indexOf(quote, this.#next)
      this.#quoteAt = at < 0 ? Infinity : at
    }
    if (this.#quoteAt > end) return end
    const quotedEnd = this.#quotedRowEnd(this.#separator.charCodeAt(0))
    const isHopeless = this.#done || this.bytes.length - this.#next > maxRowBytes
    return quotedEnd < 0 && isHopeless ? end : quotedEnd
  }

  #quotedRowEnd(separator: number): number {
    let isFieldStart = true
    for (let at = this.#next; at < this.bytes.length; at += 1) {
      if (isFieldStart && this.bytes[at] === quote) {
        at = closingQuote(this.bytes, at, this.bytes.length)
      }
      if (this.bytes[at] === newline) return at
      isFieldStart = this.bytes[at] === separator
    }
    return -1
  }
}

/** The bytes of a file, out of gzip if they are in it. */
async function openText(path: string): Promise<Readable> {
  try {
    const file = await open(path, 'r')
    const magic = Buffer.alloc(2)
    await file.read(magic, 0, 2, 0)
    await file.close()
    const raw = createReadStream(path, { highWaterMark: chunkBytes })
    if (magic[0] !== 0x1f || magic[1] !== 0x8b) return raw
    const text = createGunzip({ chunkSize: chunkBytes })
    raw.on('error', (error) => text.destroy(error))
    return raw.pipe(text)
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** From ISO 8859-1. An error of one stream ends the other. */
function asUtf8(text: Readable): Readable {
  const recode = new Transform({
    transform: (chunk: Buffer, _, done) => done(null, Buffer.from(chunk.toString('latin1'))),
  })
  pipeline(text, recode, () => {})
  return recode
}

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])
const lineEnd = Buffer.from('\n')

const mayQuote = (separator: Separator): boolean => [',', ';', '\t'].includes(separator)

/** Splits rows into fields, up to a number of them fixed at the start. */
export class RowSplitter {
  readonly #separator: Separator
  readonly #first: number
  readonly #width: number
  readonly #quotes: boolean
  readonly #strings = new StringInterner()
  /** Start and end of each field of the row at hand. */
  #bounds = new Int32Array(64)
  count = 0

  constructor(separator: Separator) {
    this.#separator = separator
    this.#first = separator.charCodeAt(0)
    this.#width = separator.length
    this.#quotes = mayQuote(separator)
  }

  /** Finds the fields of the row from `start` to `end`; they are asked for by number from 0. */
  split(bytes: Uint8Array, start: number, end: number): void {
    this.count = 0
    let from = start
    if (this.#separator === ' ') return this.#words(bytes, start, end)
    while (from <= end) {
      let to = from
      if (this.#quotes && bytes[from] === quote) to = closingQuote(bytes, from, end)
      while (to < end && !this.#isSeparator(bytes, to)) to += 1
      this.#add(from, to)
      from = to + this.#width
      if (to === end) break
    }
  }

  /** The field as text, unquoted; undefined when the row has no such field. */
  text(bytes: Uint8Array, field: number): string | undefined {
    if (field >= this.count) return undefined
    const from = this.#bounds[field * 2]
    const to = this.#bounds[field * 2 + 1]
    if (!this.#quotes || bytes[from] !== quote || to - from < 2) {
      return this.#strings.decode(bytes, from, to - from)
    }
    return this.#strings.decode(bytes, from + 1, to - from - 2).replaceAll('""', '"')
  }

  /** The field as a number; NaN for anything else. */
  number(bytes: Uint8Array, field: number): number {
    if (field >= this.count) return NaN
    const to = this.#bounds[field * 2 + 1]
    let value = 0
    let at = this.#bounds[field * 2]
    if (to - at > 15 || to === at) return this.#slowNumber(bytes, field)
    for (; at < to; at += 1) {
      const digit = bytes[at] - 48
      if (digit < 0 || digit > 9) return this.#slowNumber(bytes, field)
      value = value * 10 + digit
    }
    return value
  }

  #slowNumber(bytes: Uint8Array, field: number): number {
    const text = this.text(bytes, field)?.trim() ?? ''
    return text === '' ? NaN : Number(text)
  }

  /** Any number of spaces and tabs separate. */
  #words(bytes: Uint8Array, start: number, end: number): void {
    let at = start
    for (;;) {
      while (at < end && isBlank(bytes[at])) at += 1
      if (at === end) return
      const from = at
      while (at < end && !isBlank(bytes[at])) at += 1
      this.#add(from, at)
    }
  }

  #isSeparator(bytes: Uint8Array, at: number): boolean {
    return bytes[at] === this.#first && (this.#width === 1 || bytes[at + 1] === this.#first)
  }

  #add(from: number, to: number): void {
    if (this.count * 2 === this.#bounds.length) {
      const bounds = new Int32Array(this.#bounds.length * 2)
      bounds.set(this.#bounds)
      this.#bounds = bounds
    }
    this.#bounds[this.count * 2] = from
    this.#bounds[this.count * 2 + 1] = to
    this.count += 1
  }
}

const isBlank = (byte: number): boolean => byte === 0x20 || byte === 0x09

/** Behind the quote that closes the one at `from`; `end` when none does. */
function closingQuote(bytes: Uint8Array, from: number, end: number): number {
  for (let at = from + 1; at < end; at += 1) {
    if (bytes[at] !== quote) continue
    if (bytes[at + 1] !== quote || at + 1 >= end) return at + 1
    at += 1
  }
  return end
}
