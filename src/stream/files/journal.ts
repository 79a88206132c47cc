/**
 * The batch journal: what the trainer did that the log does not tell. Where batches ended depends
 * on the clock, and commands come from outside; each is written here before it takes effect, so
 * that the same log and the same journal give the same bits again. One file, one writer; entries
 * are numbered on from each other. Writing is synchronous: an entry is with the operating system
 * when `append` returns, and survives a killed process; `sync` makes it survive a power cut.
 *
 *     file  = magic u64 | version u32 | first sequence f64 | crc u32 | entry*
 *     entry = crc u32 | length u32 | sequence f64 | kind u8 | what it says
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'

import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Position } from '../event-log.ts'
import type { Json } from '../event.ts'
import { readFields, writeFields } from '../value-codec.ts'
import { isCode, isDiskFull } from './log-files.ts'
import { unreadable } from './segment-reader.ts'

export type JournalEntry =
  /** A batch: all the examples among `events` events from `from` up to `to`. */
  | {
      readonly kind: 'batch'
      readonly from: Position
      readonly to: Position
      readonly events: number
      /** In which order partitions took turns; absent where the log has only one. */
      readonly runs?: readonly Run[]
    }
  /** A command, executed after the entry before this one and before the next. */
  | {
      readonly kind: 'command'
      readonly name: string
      readonly payload: Readonly<Record<string, Json>>
    }

/** So many events of one partition, one after the other. */
export type Run = readonly [partition: number, events: number]

export interface NumberedEntry {
  readonly sequence: number
  readonly entry: JournalEntry
}

/** The turns of a batch: without any it is of the one partition that its log has. */
export function runsOf(batch: Extract<JournalEntry, { kind: 'batch' }>): readonly Run[] {
  return batch.runs ?? [[Number(Object.keys(batch.to)[0] ?? 0), batch.events]]
}

export interface JournalOptions {
  readonly path: string
  /**
   * Where a file is written that takes the place of this one; absent: beside it. With a workshop
   * opening makes the file anew, so that whoever has the former one open writes to it in vain.
   */
  readonly workshop?: string
  /** Told how many bytes of an unfinished entry opening cut off. */
  readonly onTornTail?: (bytes: number) => void
}

const magic = [0x68737266, 0x6c6e726a] as const // "frshjrnl"
const formatVersion = 1
export const journalHeaderBytes = 24
const entryHeaderBytes = 16
const maxEntryBytes = 1 << 20

export class BatchJournal {
  readonly #path: string
  readonly #temporary: string
  #file: number
  #bytes = 0
  /** Number of the oldest entry kept and of the next one. */
  #first = 0
  #next = 0
  readonly #writer = new ByteWriter()

  /** Opens or creates. Throws `LOG_UNREADABLE`, `JOURNAL_DAMAGED`, `LOG_DISK_FULL`. */
  constructor({ path, workshop = dirname(path), onTornTail = () => {} }: JournalOptions) {
    this.#path = path
    this.#temporary = join(workshop, `${basename(path)}.new`)
    this.#file = openFile(path)
    try {
      const torn = this.#recover()
      if (torn > 0) onTornTail(torn)
      if (workshop !== dirname(path)) this.#replace(this.#first, this.entries(this.#first))
    } catch (error) {
      closeSync(this.#file)
      throw error
    }
  }

  /** Number of the oldest entry that is kept. */
  get first(): number {
    return this.#first
  }

  /** Number of the next entry. */
  get next(): number {
    return this.#next
  }

  /** Writes one entry; its number. Throws `LOG_DISK_FULL`, and then nothing was written. */
  append(entry: JournalEntry): number {
    const sequence = this.#next
    encode(this.#writer.reset(), { sequence, entry })
    this.#write(this.#file, this.#writer.peek(), this.#bytes)
    this.#bytes += this.#writer.length
    this.#next += 1
    return sequence
  }

  /** Entries from the number `from` on. Throws `JOURNAL_INCOMPLETE` when they are not all there. */
  entries(from: number): readonly NumberedEntry[] {
    if (from < this.#first || from > this.#next) {
      throw new ServiceError('JOURNAL_INCOMPLETE', { from, first: this.#first, next: this.#next })
    }
    const entries: NumberedEntry[] = []
    scan(readFileSync(this.#path), (entry) => {
      if (entry.sequence >= from) entries.push(entry)
    })
    return entries
  }

  /** Makes it what another journal is. */
  replace(first: number, entries: readonly NumberedEntry[]): void {
    this.#replace(first, entries)
  }

  /** Forgets entries before the number `sequence`: no checkpoint that is kept needs them. */
  truncateBefore(sequence: number): void {
    if (sequence <= this.#first) return
    const first = Math.min(sequence, this.#next)
    this.#replace(first, this.entries(first))
  }

  /**
   * The next entry gets the number `sequence`. Entries from there on are forgotten: they speak of
   * events that the log has lost. If there are none up to there either, the journal begins anew.
   */
  restartAt(sequence: number): void {
    const isKnown = sequence >= this.#first && sequence <= this.#next
    if (!isKnown) this.#replace(sequence, [])
    else this.#replace(this.#first, this.entries(this.#first).slice(0, sequence - this.#first))
  }

  /** Makes everything written survive a power cut. */
  sync(): void {
    fsyncSync(this.#file)
  }

  close(): void {
    this.sync()
    closeSync(this.#file)
  }

  /** Puts a file with these entries in the place of this one: a crash leaves one or the other. */
  #replace(first: number, entries: readonly NumberedEntry[]): void {
    const file = openSync(this.#temporary, 'w+')
    try {
      this.#begin(file, first)
      this.#writer.reset()
      for (const entry of entries) encode(this.#writer, entry)
      this.#write(file, this.#writer.peek(), journalHeaderBytes)
      fsyncSync(file)
      renameSync(this.#temporary, this.#path)
    } catch (error) {
      closeSync(file)
      throw error
    }
    syncDirectory(dirname(this.#path))
    closeSync(this.#file)
    this.#file = file
    this.#bytes = journalHeaderBytes + this.#writer.length
    this.#first = first
    this.#next = first + entries.length
  }

  #begin(file: number, first: number): void {
    const header = new ByteWriter(journalHeaderBytes)
    header.uint32(magic[0]).uint32(magic[1]).uint32(formatVersion).float64(first)
    header.uint32(crc32(header.peek()))
    ftruncateSync(file)
    this.#write(file, header.peek(), 0)
  }

  /**
   * Finds the first and the next number; how many bytes behind the last intact entry were cut off.
   */
  #recover(): number {
    const { size } = fstatSync(this.#file)
    if (size < journalHeaderBytes) this.#begin(this.#file, 0)
    const bytes = readFileSync(this.#path)
    const { first, next, end } = scan(bytes, () => {})
    this.#first = first
    this.#next = next
    this.#bytes = end
    if (end < bytes.length) ftruncateSync(this.#file, end)
    return bytes.length - end
  }

  #write(file: number, bytes: Uint8Array, at: number): void {
    try {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(file, bytes, done, bytes.length - done, at + done)
      }
    } catch (error) {
      ftruncateSync(file, at)
      const details = { bytes: bytes.length, directory: dirname(this.#path) }
      if (isDiskFull(error)) throw new ServiceError('LOG_DISK_FULL', details, { cause: error })
      throw error
    }
  }
}

function openFile(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true })
    return openSync(path, 'r+')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return openSync(path, 'w+')
    throw unreadable(path, error)
  }
}

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  fsyncSync(directory)
  closeSync(directory)
}

const kinds = { batch: 0, command: 1, interleaved: 2 } as const

function encode(writer: ByteWriter, { sequence, entry }: NumberedEntry): void {
  const at = writer.length
  const runs = entry.kind === 'batch' ? entry.runs : undefined
  const kind = runs === undefined ? kinds[entry.kind] : kinds.interleaved
  writer.uint32(0).uint32(0).float64(sequence).uint8(kind)
  if (entry.kind === 'batch') {
    writeFields(writer, entry.from)
    writeFields(writer, entry.to)
    writer.varint(entry.events)
    if (runs !== undefined) writer.varint(runs.length)
    for (const [partition, events] of runs ?? []) writer.varint(partition).varint(events)
  } else {
    writer.string(entry.name)
    writeFields(writer, entry.payload)
  }
  writer.setUint32(at + 4, writer.length - at - entryHeaderBytes)
  writer.setUint32(at, crc32(writer.peek().subarray(at + 4)))
}

/** As it lies in the file, to be kept elsewhere. */
export function entryBytes(entry: NumberedEntry): Uint8Array {
  const writer = new ByteWriter()
  encode(writer, entry)
  return writer.peek()
}

/** Throws `JOURNAL_DAMAGED`. */
export function entryOf(bytes: Uint8Array): NumberedEntry {
  const reader = new ByteReader(bytes)
  const isWhole = bytes.length >= entryHeaderBytes && reader.uint32() === crc32(bytes.subarray(4))
  if (!isWhole) throw damaged('an entry fails its checksum')
  reader.uint32()
  return { sequence: reader.float64(), entry: decode(reader) }
}

function decode(reader: ByteReader): JournalEntry {
  const kind = reader.uint8()
  if (kind === kinds.batch || kind === kinds.interleaved) {
    const from = readPosition(reader)
    const to = readPosition(reader)
    const batch = { kind: 'batch', from, to, events: reader.varint() } as const
    return kind === kinds.batch ? batch : { ...batch, runs: readRuns(reader, batch.events) }
  }
  if (kind !== kinds.command) throw damaged(`an entry of kind ${kind} is unknown`)
  return { kind: 'command', name: reader.string(), payload: readFields(reader) }
}

function readRuns(reader: ByteReader, events: number): Run[] {
  const length = reader.varint()
  if (length > events) throw damaged('there are more runs than events')
  const runs = Array.from({ length }, (): Run => [reader.varint(), reader.varint()])
  if (runs.reduce((sum, [, count]) => sum + count, 0) !== events) throw damaged('runs')
  return runs
}

function readPosition(reader: ByteReader): Position {
  const position: Record<string, string> = {}
  for (const [partition, offset] of Object.entries(readFields(reader))) {
    if (typeof offset !== 'string') throw damaged('an offset is no text')
    position[partition] = offset
  }
  return position
}

interface EntriesScan {
  readonly next: number
  /** Where the intact entries end. */
  readonly end: number
}

/** Calls `visit` with every entry up to the first that is not intact. */
function scan(
  bytes: Uint8Array,
  visit: (entry: NumberedEntry) => void,
): EntriesScan & { readonly first: number } {
  const first = firstOf(bytes)
  const { next, end } = scanEntries(bytes.subarray(journalHeaderBytes), first, visit)
  return { first, next, end: journalHeaderBytes + end }
}

/** Number of the first entry of a file that begins so. Throws `JOURNAL_DAMAGED`. */
export function firstOf(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes)
  if (reader.uint32() !== magic[0] || reader.uint32() !== magic[1]) throw damaged('no journal')
  const version = reader.uint32()
  if (version !== formatVersion) throw damaged(`version ${version} is unknown`)
  const first = reader.float64()
  if (reader.uint32() !== crc32(bytes.subarray(0, journalHeaderBytes - 4))) throw damaged('header')
  return first
}

/** Of bytes that begin with the entry of the number `next`. Throws `JOURNAL_DAMAGED`. */
export function scanEntries(
  bytes: Uint8Array,
  next: number,
  visit: (entry: NumberedEntry) => void,
): EntriesScan {
  const reader = new ByteReader(bytes)
  let expected = next
  while (reader.remaining >= entryHeaderBytes) {
    const at = reader.position
    const crc = reader.uint32()
    const length = reader.uint32()
    const end = at + entryHeaderBytes + length
    const fits = length <= maxEntryBytes && end <= bytes.length
    if (!fits || crc !== crc32(bytes.subarray(at + 4, end))) return { next: expected, end: at }
    const sequence = reader.float64()
    if (sequence !== expected) throw damaged(`entry ${expected} is missing`)
    visit({ sequence, entry: decode(reader) })
    if (reader.position !== end) throw damaged(`entry ${sequence} has another length`)
    expected += 1
  }
  return { next: expected, end: reader.position }
}

const damaged = (reason: string): ServiceError => new ServiceError('JOURNAL_DAMAGED', { reason })
