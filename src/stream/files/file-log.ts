/**
 * The event log of one machine: segments in a directory, one process that appends, any number of
 * threads that read. Appends that arrive while a write is under way are written together and made
 * durable by one sync (group commit, as in PostgreSQL and LevelDB). Formats: log-segment.ts and
 * docs/formats.md.
 *
 * What is acknowledged: with `always`, bytes that the disk has confirmed. With `interval` and
 * `never`, bytes that the operating system has taken: they survive a killed process, not a power
 * cut.
 */
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { ByteWriter } from '../../base/bytes.ts'
import { ServiceError } from '../../base/errors.ts'
import { EventEncoder } from '../event-codec.ts'
import type { EventLog, LogBatch, Position, ReadOptions } from '../event-log.ts'
import type { Event } from '../event.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import { EndSignal } from './end-signal.ts'
import { isCode, isDiskFull, type LogFile, type LogFiles, nodeLogFiles } from './log-files.ts'
import {
  maxRecordBytes,
  maxRecordEvents,
  recordHeaderBytes,
  sealRecord,
  segmentHeader,
  segmentHeaderBytes,
  segmentName,
} from './log-segment.ts'
import { listSegments, scanLast, SegmentReader, unreadable } from './segment-reader.ts'
import { keepTornTail } from './torn-tails.ts'

export interface TornTail {
  readonly segment: string
  /** Where the segment was cut, and how many bytes went. */
  readonly byte: number
  readonly bytes: number
  /** The file beside it that has them now; absent: there was no room. */
  readonly kept?: string
}

export interface FileLogOptions {
  readonly directory: string
  readonly fsync: 'always' | 'interval' | 'never'
  /** Between two syncs with `interval`. Default 50. */
  readonly fsyncIntervalMs?: number
  /** A segment that has reached this size is followed by the next. Default 64 MiB. */
  readonly segmentBytes?: number
  /** More events than this waiting to be written: appends are refused. Default 1,000,000. */
  readonly maxPendingEvents?: number
  /** Told when opening cut off an append that a crash had left unfinished. */
  readonly onTornTail?: (tail: TornTail) => void
  readonly files?: LogFiles
}

export interface SegmentInfo {
  readonly first: number
  /** Ordinal after its last event. */
  readonly end: number
  readonly bytes: number
  /** When it was last written to, epoch ms. */
  readonly modifiedAt: number
}

interface Append {
  /** Where its record stands in the pending bytes. */
  readonly at: number
  readonly length: number
  readonly count: number
  readonly resolve: (offsets: readonly string[]) => void
  readonly reject: (error: unknown) => void
}

const pendingBytes = 1 << 20
/** A buffer that has held more than this is let go. */
const maxKeptBytes = 8 << 20

/**
 * Invariants: `#end` is the ordinal after the last event written, `#bytes` the length of the
 * segment up to there; a write that fails is cut off again before the next. Readers are told of an
 * event only once it is durable under the policy.
 */
export class FileLog implements EventLog {
  readonly #options: Required<FileLogOptions>
  readonly #lock: DirectoryLock
  readonly #signal = new EndSignal()
  readonly #reader: SegmentReader
  readonly #encoder = new EventEncoder()
  /** Records of the appends in `#waiting`, with headers still empty. */
  #pending = new ByteWriter(pendingBytes)
  /** The other buffer: of the two, one is filled while one is written. */
  #spare = new ByteWriter(pendingBytes)
  #waiting: Append[] = []
  #waitingEvents = 0
  #writing: Promise<void> | undefined
  #segments: number[] = []
  #file: LogFile | undefined
  #bytes = 0
  #end = 0
  /** Ordinal up to which events are known to be on disk. */
  #synced = 0
  #timer: NodeJS.Timeout | undefined
  #failure: ServiceError | undefined
  #closed: Promise<void> | undefined

  private constructor(options: Required<FileLogOptions>, lock: DirectoryLock) {
    this.#options = options
    this.#lock = lock
    this.#reader = new SegmentReader(options.directory, this.#signal)
  }

  /**
   * Opens or creates a log, cutting off an unfinished append. Throws `LOG_LOCKED`,
   * `LOG_UNREADABLE`, `LOG_SEGMENT_DAMAGED`, `LOG_DISK_FULL`.
   */
  static async open(options: FileLogOptions): Promise<FileLog> {
    const { directory } = options
    const lock = await makeDirectory(directory)
    const log = new FileLog({ ...defaults, ...options }, lock)
    try {
      await log.#recover()
      return log
    } catch (error) {
      await log.#file?.close()
      lock.release()
      throw log.#asServiceError(error, segmentHeaderBytes)
    }
  }

  /** For `openFileLogReader` in another thread. */
  get endSignal(): SharedArrayBuffer {
    return this.#signal.memory
  }

  append(events: readonly Event[]): Promise<readonly string[]> {
    if (events.length === 0) return Promise.resolve([])
    const problem = this.#refusal(events.length)
    if (problem !== undefined) return Promise.reject(problem)
    const at = this.#pending.length
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
    try {
      this.#encode(events, at)
    } catch (error) {
      this.#pending.truncate(at)
      return Promise.reject(error)
    }
    const length = this.#pending.length - at - recordHeaderBytes
    this.#waiting.push({ at, length, count: events.length, resolve, reject })
    this.#waitingEvents += events.length
    this.#writing ??= this.#writeAll()
    return promise
  }

  read(from: Position, options: ReadOptions): Promise<readonly LogBatch[]> {
    return this.#reader.read(from, options)
  }

  end(): Promise<Position> {
    return this.#reader.end()
  }

  start(): Promise<Position> {
    return this.#reader.start()
  }

  compare(a: string, b: string): number {
    return this.#reader.compare(a, b)
  }

  /** Resolves when everything acknowledged so far is on disk, whatever the policy. */
  async sync(): Promise<void> {
    await this.#writing
    await this.#sync()
  }

  /** The segments that are kept, oldest first. */
  async segments(): Promise<readonly SegmentInfo[]> {
    const infos: SegmentInfo[] = []
    for (const [i, first] of this.#segments.entries()) {
      const { size, mtimeMs } = await stat(this.#path(first))
      const end = this.#segments[i + 1] ?? this.#end
      infos.push({ first, end, bytes: size, modifiedAt: mtimeMs })
    }
    return infos
  }

  /** Removes the segments of which every event stands before `offset`; never the last one. */
  async truncateBefore(offset: string): Promise<void> {
    const { directory, files } = this.#options
    const keep = this.#segments.findLastIndex((first) => first <= Number(offset))
    if (keep <= 0) return
    const gone = this.#segments.splice(0, keep)
    this.#publish()
    // Oldest first: what a crash leaves behind is still without a gap.
    for (const first of gone) await files.remove(this.#path(first))
    await files.syncDirectory(directory)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#writing
    clearTimeout(this.#timer)
    await this.#reader.close()
    try {
      if (this.#failure === undefined) await this.#sync()
    } finally {
      await this.#file?.close()
      this.#lock.release()
    }
  }

  #refusal(events: number): ServiceError | undefined {
    if (this.#closed !== undefined) return new ServiceError('LOG_CLOSED', {})
    if (this.#failure !== undefined) return this.#failure
    if (events > maxRecordEvents) return tooLarge()
    const waiting = this.#waitingEvents
    if (waiting === 0 || waiting + events <= this.#options.maxPendingEvents) return undefined
    return new ServiceError('LOG_OVERLOADED', { events: waiting })
  }

  #encode(events: readonly Event[], at: number): void {
    for (let i = 0; i < recordHeaderBytes; i += 4) this.#pending.uint32(0)
    this.#encoder.encode(this.#pending, events)
    if (this.#pending.length - at - recordHeaderBytes > maxRecordBytes) throw tooLarge()
  }

  async #recover(): Promise<void> {
    const { directory, onTornTail } = this.#options
    this.#segments = await listSegments(directory)
    const last = this.#segments.at(-1)
    if (last === undefined) {
      await this.#startSegment()
    } else {
      const { end, bytes, problem } = await scanLast(directory, last)
      this.#file = await this.#options.files.open(this.#path(last))
      this.#end = end
      if (problem !== undefined) {
        const { size } = await stat(this.#path(last))
        const tail = { segment: segmentName(last), byte: bytes }
        const { files } = this.#options
        const kept = await keepTornTail({ ...tail, directory, files })
        await this.#file.truncate(bytes)
        onTornTail({ ...tail, bytes: size - bytes, ...(kept !== undefined && { kept }) })
      }
      if (bytes === 0) await this.#file.write(segmentHeader(last), 0)
      await this.#file.sync()
      this.#bytes = Math.max(bytes, segmentHeaderBytes)
    }
    this.#synced = this.#end
    this.#publish()
  }

  /** Writes what is waiting, and what comes meanwhile, group by group. */
  async #writeAll(): Promise<void> {
    // Whatever is appended in this turn of the event loop belongs to the first group.
    await Promise.resolve()
    while (this.#waiting.length > 0) await this.#writeGroup()
    this.#writing = undefined
  }

  async #writeGroup(): Promise<void> {
    const group = this.#waiting
    const pending = this.#pending
    this.#waiting = []
    this.#waitingEvents = 0
    this.#pending = this.#spare.reset()
    const first = this.#end
    const bytes = pending.peek()
    let ordinal = first
    for (const { at, length, count } of group) {
      sealRecord(bytes, at, { first: ordinal, count, length, unsynced: ordinal - this.#synced })
      ordinal += count
    }
    try {
      await this.#write(bytes, ordinal)
    } catch (error) {
      const failure = this.#asServiceError(error, bytes.length)
      for (const { reject } of group) reject(failure)
      return
    } finally {
      this.#spare = bytes.length > maxKeptBytes ? new ByteWriter(pendingBytes) : pending
    }
    this.#publish()
    let offset = first
    for (const { count, resolve } of group) {
      const from = offset
      resolve(Array.from({ length: count }, (_, i) => String(from + i)))
      offset += count
    }
  }

  async #write(bytes: Uint8Array, end: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    const isFull = this.#bytes >= this.#options.segmentBytes
    if (isFull && this.#bytes > segmentHeaderBytes) await this.#startSegment()
    const file = this.#open()
    const start = this.#bytes
    try {
      await file.write(bytes, start)
      if (this.#options.fsync === 'always') await file.sync()
    } catch (error) {
      await this.#takeBack(file, start, error)
      throw error
    }
    this.#bytes = start + bytes.length
    this.#end = end
    if (this.#options.fsync === 'always') this.#synced = end
    else if (this.#options.fsync === 'interval') this.#scheduleSync()
  }

  /** A disk that is full may have room later; after any other failure nothing can be relied on. */
  async #takeBack(file: LogFile, length: number, cause: unknown): Promise<void> {
    try {
      await file.truncate(length)
      if (isDiskFull(cause)) return
    } catch {
      // The segment's end is torn now; opening the log again repairs it.
    }
    this.#fail(cause)
  }

  #fail(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause)
    this.#failure ??= new ServiceError('LOG_FAILED', { reason }, { cause })
  }

  async #startSegment(): Promise<void> {
    const { directory, files } = this.#options
    const first = this.#end
    if (this.#file !== undefined) await this.#sync()
    const file = await files.open(this.#path(first))
    try {
      await file.write(segmentHeader(first), 0)
      await file.sync()
      await files.syncDirectory(directory)
    } catch (error) {
      await file.close()
      await files.remove(this.#path(first))
      throw error
    }
    await this.#file?.close()
    this.#file = file
    this.#bytes = segmentHeaderBytes
    this.#segments.push(first)
  }

  #scheduleSync(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#sync().catch((error: unknown) => this.#fail(error))
    }, this.#options.fsyncIntervalMs)
  }

  async #sync(): Promise<void> {
    const end = this.#end
    if (this.#synced === end) return
    await this.#open().sync()
    this.#synced = Math.max(this.#synced, end)
  }

  #open(): LogFile {
    if (this.#file === undefined) throw new ServiceError('LOG_CLOSED', {})
    return this.#file
  }

  #publish(): void {
    this.#signal.publish({ start: this.#segments[0] ?? 0, end: this.#end })
  }

  #path(first: number): string {
    return join(this.#options.directory, segmentName(first))
  }

  #asServiceError(error: unknown, bytes: number): ServiceError {
    const { directory } = this.#options
    if (this.#failure !== undefined) return this.#failure
    if (error instanceof ServiceError) return error
    if (!isDiskFull(error)) return unreadable(directory, error)
    return new ServiceError('LOG_DISK_FULL', { bytes, directory }, { cause: error })
  }
}

const defaults = {
  fsyncIntervalMs: 50,
  segmentBytes: 64 * 2 ** 20,
  maxPendingEvents: 1_000_000,
  onTornTail: () => {},
  files: nodeLogFiles,
} satisfies Partial<FileLogOptions>

const tooLarge = (): ServiceError =>
  new ServiceError('LOG_APPEND_TOO_LARGE', { events: maxRecordEvents, bytes: maxRecordBytes })

/** Makes the directory if needed, and locks it. */
async function makeDirectory(directory: string): Promise<DirectoryLock> {
  try {
    await mkdir(directory, { recursive: true })
    return lockDirectory(directory)
  } catch (error) {
    if (error instanceof ServiceError) throw error
    if (isDiskFull(error)) throw new ServiceError('LOG_DISK_FULL', { directory })
    if (isCode(error, 'EROFS', 'EACCES', 'ENOTDIR', 'EEXIST', 'EPERM')) {
      throw unreadable(directory, error)
    }
    throw error
  }
}
