/**
 * Reads a file log without writing to it: the half that the appender and every other thread share.
 * How far it may read is told by the appender's end signal; a process that only looks at a log of
 * nobody's finds the end by scanning the last segment.
 */
import { type FileHandle, open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { ServiceError } from '../../base/errors.ts'
import { EventDecoder } from '../event-codec.ts'
import type { EventLogReader, LogBatch, Position, ReadOptions } from '../event-log.ts'
import type { Event } from '../event.ts'
import { EndSignal } from './end-signal.ts'
import { isCode } from './log-files.ts'
import {
  isIntact,
  recordHeader,
  recordHeaderBytes,
  type RecordHeader,
  scanSegment,
  type SegmentScan,
  segmentFirst,
  segmentHeaderBytes,
  segmentHeaderProblem,
  segmentName,
} from './log-segment.ts'

/** A file log has one partition; offsets are ordinals in decimal. */
export const partition = 0

export interface FileLogReaderOptions {
  readonly directory: string
  /** `FileLog.endSignal` of the appender; absent: the log has none, and its end does not move. */
  readonly endSignal?: SharedArrayBuffer
}

/** Throws `LOG_UNREADABLE`, `LOG_SEGMENT_DAMAGED`. */
export async function openFileLogReader({
  directory,
  endSignal,
}: FileLogReaderOptions): Promise<EventLogReader> {
  if (endSignal !== undefined) return new SegmentReader(directory, new EndSignal(endSignal))
  const signal = new EndSignal()
  const firsts = await listSegments(directory)
  const last = firsts.at(-1)
  if (last !== undefined) {
    const { end } = await scanLast(directory, last)
    signal.publish({ start: firsts[0] ?? last, end })
  }
  return new SegmentReader(directory, signal)
}

/** The last segment, scanned. Throws `LOG_SEGMENT_DAMAGED` for more than a torn end. */
export async function scanLast(directory: string, first: number): Promise<SegmentScan> {
  const segment = segmentName(first)
  const bytes = await readFile(join(directory, segment)).catch((error: unknown) => {
    throw unreadable(join(directory, segment), error)
  })
  const problem = segmentHeaderProblem(bytes, first)
  // A crash while the segment was made: nothing has been written to it yet.
  if (problem !== undefined && bytes.length <= segmentHeaderBytes) {
    return { end: first, bytes: 0, problem: 'torn' }
  }
  if (problem !== undefined) throw damaged(segment, 0, problem)
  const scan = scanSegment(bytes, first)
  if (scan.problem === 'damaged') throw damaged(segment, scan.bytes, 'checksum')
  return scan
}

const damaged = (segment: string, byte: number, reason: string): ServiceError =>
  new ServiceError('LOG_SEGMENT_DAMAGED', { segment, byte, reason })

/** First ordinals of the segments of a directory, ascending. */
export async function listSegments(directory: string): Promise<number[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw unreadable(directory, error)
  })
  const firsts = names.flatMap((name) => segmentFirst(name) ?? [])
  return firsts.toSorted((a, b) => a - b)
}

export function unreadable(path: string, error: unknown): ServiceError {
  const reason = error instanceof Error ? error.message : String(error)
  return new ServiceError('LOG_UNREADABLE', { path, reason }, { cause: error })
}

/** Cursors kept open between reads: one for each reader that follows the log. */
const maxIdleCursors = 4

export class SegmentReader implements EventLogReader {
  readonly #directory: string
  readonly #end: EndSignal
  /** By the ordinal they stand at; longest idle first. */
  readonly #idle = new Map<number, Cursor>()
  readonly #decoder = new EventDecoder()
  readonly #closed = new AbortController()
  readonly #reading = new Set<Promise<unknown>>()

  constructor(directory: string, end: EndSignal) {
    this.#directory = directory
    this.#end = end
  }

  async read(from: Position, options: ReadOptions): Promise<readonly LogBatch[]> {
    if (this.#closed.signal.aborted) throw new ServiceError('LOG_CLOSED', {})
    const reading = this.#read(this.#ordinal(from), options)
    this.#reading.add(reading)
    try {
      return await reading
    } finally {
      this.#reading.delete(reading)
    }
  }

  end(): Promise<Position> {
    return Promise.resolve({ [partition]: String(this.#end.end) })
  }

  start(): Promise<Position> {
    return Promise.resolve({ [partition]: String(this.#end.start) })
  }

  compare(a: string, b: string): number {
    return Number(a) - Number(b)
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await Promise.allSettled(this.#reading)
    for (const cursor of this.#idle.values()) await cursor.close()
    this.#idle.clear()
  }

  async #read(first: number, options: ReadOptions): Promise<readonly LogBatch[]> {
    const { waitMs, maxEvents, signal } = options
    const ready = await this.#end.wait(first, waitMs, [signal, this.#closed.signal])
    if (!ready || signal.aborted || this.#closed.signal.aborted) return []
    return [new OrdinalBatch(first, await this.#readEvents(first, maxEvents))]
  }

  #ordinal(from: Position): number {
    const { start, end } = this.#end
    const offset = from[partition] ?? String(start)
    const ordinal = Number(offset)
    if (ordinal < start) throw new ServiceError('LOG_OFFSET_EXPIRED', { offset, start })
    if (!(ordinal <= end) || !Number.isInteger(ordinal)) {
      throw new ServiceError('LOG_OFFSET_UNKNOWN', { offset, end })
    }
    return ordinal
  }

  async #readEvents(first: number, maxEvents: number): Promise<Event[]> {
    const cursor = this.#idle.get(first) ?? (await Cursor.at(this.#directory, first, this.#decoder))
    this.#idle.delete(first)
    try {
      const events = await cursor.read(maxEvents, this.#end)
      await this.#keep(cursor)
      return events
    } catch (error) {
      await cursor.close()
      throw error
    }
  }

  async #keep(cursor: Cursor): Promise<void> {
    const [oldest] = this.#idle.keys()
    const twin = this.#idle.get(cursor.next)
    this.#idle.set(cursor.next, cursor)
    if (twin !== undefined) await twin.close()
    else if (this.#idle.size > maxIdleCursors && oldest !== undefined) {
      const dropped = this.#idle.get(oldest)
      this.#idle.delete(oldest)
      await dropped?.close()
    }
  }
}

/** Events with consecutive ordinals. Their offsets are made only if asked for. */
class OrdinalBatch implements LogBatch {
  readonly partition = partition
  readonly events: readonly Event[]
  readonly next: string
  readonly #first: number
  #offsets: readonly string[] | undefined

  constructor(first: number, events: readonly Event[]) {
    this.events = events
    this.next = String(first + events.length)
    this.#first = first
  }

  get offsets(): readonly string[] {
    this.#offsets ??= this.events.map((_, i) => String(this.#first + i))
    return this.#offsets
  }
}

const initialBufferBytes = 1 << 20

/**
 * A place in the log, between two events, with the file open there and a buffer of what follows.
 * Not for two reads at once. Bytes past the end that was durable when the buffer was filled are not
 * used: they may be of an append that was taken back.
 */
class Cursor {
  readonly #directory: string
  readonly #decoder: EventDecoder
  #segment: number
  #file: FileHandle
  #buffer = Buffer.allocUnsafe(initialBufferBytes)
  /** What the buffer holds: bytes from `#position` in the file on, from `#at` in the buffer on. */
  #at = 0
  #filled = 0
  #position = segmentHeaderBytes
  #trusted = 0
  /** Ordinal of the first event of the next record. */
  #record: number
  /** Events decoded and not yet given out. */
  #pending: readonly Event[] = []

  private constructor(place: {
    readonly directory: string
    readonly segment: number
    readonly file: FileHandle
    readonly decoder: EventDecoder
  }) {
    this.#directory = place.directory
    this.#segment = place.segment
    this.#record = place.segment
    this.#file = place.file
    this.#decoder = place.decoder
  }

  /** A cursor that stands before the event `ordinal`. */
  static async at(directory: string, ordinal: number, decoder: EventDecoder): Promise<Cursor> {
    const firsts = await listSegments(directory)
    const segment = firsts.findLast((first) => first <= ordinal)
    if (segment === undefined) {
      throw new ServiceError('LOG_OFFSET_EXPIRED', { offset: ordinal, start: firsts[0] ?? 0 })
    }
    const file = await openSegment(directory, segment)
    const cursor = new Cursor({ directory, segment, file, decoder })
    try {
      await cursor.#skipTo(ordinal)
      return cursor
    } catch (error) {
      await cursor.close()
      throw error
    }
  }

  /** Ordinal of the next event. */
  get next(): number {
    return this.#record - this.#pending.length
  }

  /** The next events up to `maxEvents` or to the durable end; at least one, which must be there. */
  async read(maxEvents: number, signal: EndSignal): Promise<Event[]> {
    const { end } = signal
    const events: Event[] = []
    while (events.length < maxEvents && this.next < end) {
      if (this.#pending.length === 0) {
        const header = await this.#header(end)
        this.#pending = this.#decode(header)
        this.#pass(header)
      }
      const taken = this.#pending.slice(0, maxEvents - events.length)
      this.#pending = this.#pending.slice(taken.length)
      for (const event of taken) events.push(event)
    }
    return events
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  async #skipTo(ordinal: number): Promise<void> {
    while (this.#record < ordinal) {
      const header = await this.#header(ordinal)
      if (header.first + header.count > ordinal) {
        this.#pending = this.#decode(header).slice(ordinal - header.first)
      }
      this.#pass(header)
    }
  }

  /** The next record, intact and wholly in the buffer, of a log that is durable up to `end`. */
  async #header(end: number): Promise<RecordHeader> {
    for (;;) {
      if (this.#record >= this.#trusted) await this.#fill(recordHeaderBytes, end)
      let header = this.#peek()
      if (header === undefined) {
        const bytes = await this.#fill(recordHeaderBytes, end)
        if (bytes === 0) {
          await this.#nextSegment()
          continue
        }
        header = this.#peek()
      }
      if (header === undefined || header.first !== this.#record) throw this.#damaged('no record')
      const size = recordHeaderBytes + header.length
      if (this.#filled - this.#at < size) await this.#fill(size, end)
      if (!isIntact(this.#held(), this.#at, header)) throw this.#damaged('checksum')
      return header
    }
  }

  #peek(): RecordHeader | undefined {
    return recordHeader(this.#held(), this.#at, this.#record)
  }

  #held(): Buffer {
    return this.#buffer.subarray(0, this.#filled)
  }

  /** Reads at least `size` bytes from `#position` on, if the file has them; how many there are. */
  async #fill(size: number, end: number): Promise<number> {
    if (size > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(size * 2)
    this.#at = 0
    this.#filled = 0
    this.#trusted = end
    while (this.#filled < size) {
      const left = this.#buffer.length - this.#filled
      const from = this.#position + this.#filled
      const { bytesRead } = await this.#file.read(this.#buffer, this.#filled, left, from)
      if (bytesRead === 0) break
      this.#filled += bytesRead
    }
    return this.#filled
  }

  #decode({ length, count }: RecordHeader): Event[] {
    const start = this.#at + recordHeaderBytes
    try {
      return this.#decoder.decode(this.#buffer.subarray(start, start + length), count)
    } catch (error) {
      if (error instanceof RangeError || error instanceof TypeError) {
        throw this.#damaged(error.message)
      }
      throw error
    }
  }

  #pass({ length, count }: RecordHeader): void {
    this.#at += recordHeaderBytes + length
    this.#position += recordHeaderBytes + length
    this.#record += count
  }

  /**
   * Where this segment ends before the log does, the next one must begin with the event that is
   * due.
   */
  async #nextSegment(): Promise<void> {
    if (this.#segment === this.#record) throw this.#damaged('the segment is empty')
    const firsts = await listSegments(this.#directory)
    if (!firsts.includes(this.#record)) throw this.#damaged('events are missing')
    const file = await openSegment(this.#directory, this.#record)
    await this.#file.close()
    this.#file = file
    this.#segment = this.#record
    this.#position = segmentHeaderBytes
    this.#at = 0
    this.#filled = 0
    this.#trusted = 0
  }

  #damaged(reason: string): ServiceError {
    return damaged(segmentName(this.#segment), this.#position, reason)
  }
}

async function openSegment(directory: string, first: number): Promise<FileHandle> {
  const path = join(directory, segmentName(first))
  const file = await open(path, 'r').catch((error: unknown) => {
    const gone = isCode(error, 'ENOENT')
    if (gone) throw new ServiceError('LOG_OFFSET_EXPIRED', { offset: first, start: 'a later one' })
    throw unreadable(path, error)
  })
  const header = Buffer.alloc(segmentHeaderBytes)
  const { bytesRead } = await file.read(header, 0, segmentHeaderBytes, 0)
  const problem = segmentHeaderProblem(header.subarray(0, bytesRead), first)
  if (problem === undefined) return file
  await file.close()
  throw damaged(segmentName(first), 0, problem)
}
