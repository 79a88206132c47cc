/**
 * Past interactions from files as a log that is read only: CSV, TSV, `::`, `|` or space-separated
 * rows, or one line per user or session (`sequences`), plain or gzip, several files one after the
 * other. An offset is the ordinal of the row (of the item, with sequences), rejected ones counted,
 * so that a replay can resume anywhere by skipping without parsing. Rows in error are counted, told
 * apart by reason and written to a file of their own; they never stop the reading.
 */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

import { ServiceError } from '../../base/errors.ts'
import type { EventLogReader, LogBatch, Position, ReadOptions } from '../event-log.ts'
import type { Interaction } from '../event.ts'
import { partition } from '../files/segment-reader.ts'
import { guessSeparator, RowReader, RowSplitter, type Separator } from './delimited-rows.ts'
import { type ColumnMapping, parseColumns, resolveColumns } from './recorded-columns.ts'
import { InteractionParser, type RowParser, SequenceParser } from './recorded-rows.ts'

export interface RecordedLogOptions {
  /** Read one after the other. */
  readonly files: readonly string[]
  /** `sequences`: a line is a user (or session) and its items, oldest first. Default `rows`. */
  readonly format?: 'rows' | 'sequences'
  /** Absent: guessed from the names of the columns, or their order. See recorded-columns.ts. */
  readonly columns?: ColumnMapping | string
  /**
   * Context fields that the reader has a use for: where `columns` speaks of no context, those of
   * them that the header names are read.
   */
  readonly contextFields?: readonly string[]
  /** Absent: guessed from the first line of each file. */
  readonly separator?: Separator
  /** Interaction type where there is no column for it. Default `click`. */
  readonly type?: string
  /** Where rejected rows go, as lines of JSON. Absent: they are only counted. */
  readonly rejectsFile?: string
}

/** Rejected rows written; beyond that they are only counted. */
const maxRejectsWritten = 100_000

export class RecordedLog implements EventLogReader {
  readonly #options: RecordedLogOptions
  readonly #columns: ColumnMapping | undefined
  #source: RecordSource
  readonly #rejects: Rejects
  #rows: number | undefined
  /** Reads happen one after the other. */
  #last: Promise<unknown> = Promise.resolve()
  #closed = false

  /** Throws `RECORDING_COLUMNS`; files are opened by the first read. */
  constructor(options: RecordedLogOptions) {
    const { columns } = options
    this.#options = options
    this.#columns = typeof columns === 'string' ? parseColumns(columns) : columns
    this.#rejects = new Rejects(options.rejectsFile)
    this.#source = this.#open()
  }

  /** Rows rejected so far, by reason. */
  get rejected(): ReadonlyMap<string, number> {
    return this.#rejects.counts
  }

  read(from: Position, options: ReadOptions): Promise<readonly LogBatch[]> {
    const reading = this.#last.then(() => this.#read(Number(from[partition] ?? 0), options))
    this.#last = reading.catch(() => {})
    return reading
  }

  start(): Promise<Position> {
    return Promise.resolve({ [partition]: '0' })
  }

  /** Counts the rows of all files, once: a pass over them. */
  async end(): Promise<Position> {
    this.#rows ??= await this.#count()
    return { [partition]: String(this.#rows) }
  }

  compare(a: string, b: string): number {
    return Number(a) - Number(b)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#last
    this.#source.close()
    this.#rejects.flush()
  }

  async #read(from: number, options: ReadOptions): Promise<readonly LogBatch[]> {
    if (this.#closed) throw new ServiceError('LOG_CLOSED', {})
    if (from !== this.#source.ordinal) await this.#seek(from)
    const batch = new RecordedBatch()
    const isMore = await this.#source.read(batch, options)
    if (!isMore) this.#rejects.flush()
    if (batch.events.length === 0) return []
    batch.end = this.#source.ordinal
    return [batch]
  }

  async #seek(ordinal: number): Promise<void> {
    if (ordinal < this.#source.ordinal) {
      this.#source.close()
      this.#source = this.#open()
    }
    await this.#source.skip(ordinal)
    const end = this.#source.ordinal
    if (end !== ordinal) throw new ServiceError('LOG_OFFSET_UNKNOWN', { offset: ordinal, end })
  }

  async #count(): Promise<number> {
    const source = this.#open()
    await source.skip(Infinity)
    source.close()
    return source.ordinal
  }

  #open(): RecordSource {
    return new RecordSource(this.#options, this.#columns, this.#rejects)
  }
}

class RecordedBatch implements LogBatch {
  readonly partition = partition
  readonly events: Interaction[] = []
  readonly ordinals: number[] = []
  end = 0

  add(event: Interaction, ordinal: number): void {
    this.events.push(event)
    this.ordinals.push(ordinal)
  }

  get next(): string {
    return String(this.end)
  }

  get offsets(): readonly string[] {
    return this.ordinals.map(String)
  }
}

/** One pass over all files. */
class RecordSource {
  readonly #options: RecordedLogOptions
  readonly #mapping: ColumnMapping | undefined
  readonly #rejects: Rejects
  #file = 0
  #rows: RowReader | undefined
  #parser: RowParser = noRows
  /** Of the next row, or item. */
  ordinal = 0

  constructor(options: RecordedLogOptions, mapping: ColumnMapping | undefined, rejects: Rejects) {
    this.#options = options
    this.#mapping = mapping
    this.#rejects = rejects
  }

  /** Adds up to `maxEvents` to the batch; false when the last file has ended. */
  read(batch: RecordedBatch, { maxEvents, signal }: ReadOptions): Promise<boolean> {
    const isWanted = (): boolean => batch.events.length < maxEvents && !signal.aborted
    return this.#walk(isWanted, (rows) => {
      const event = this.#parser.parse(rows, this.ordinal)
      if (typeof event !== 'string') batch.add(event, this.ordinal)
      else this.#rejects.add(this.ordinal, { ...this.#place(rows), reason: event })
    })
  }

  /** Goes on to the event `ordinal`, or to the end if that comes first. */
  async skip(ordinal: number): Promise<void> {
    await this.#walk(
      () => this.ordinal < ordinal,
      () => {},
    )
  }

  close(): void {
    this.#rows?.close()
    this.#rows = undefined
    this.#file = Infinity
  }

  async #walk(isWanted: () => boolean, visit: (rows: RowReader) => void): Promise<boolean> {
    for (;;) {
      const rows = await this.#open()
      if (rows === undefined) return false
      while (isWanted() && this.#parser.advance(rows)) {
        visit(rows)
        this.ordinal += 1
      }
      if (!isWanted()) return true
      if (!(await rows.more())) this.#next()
    }
  }

  #next(): void {
    this.#rows?.close()
    this.#rows = undefined
    this.#file += 1
  }

  /** The file at hand, else the next one that has rows. */
  async #open(): Promise<RowReader | undefined> {
    while (this.#rows === undefined && this.#file < this.#options.files.length) {
      this.#rows = await RowReader.open(this.#options.files[this.#file])
      if (await this.#rows.first()) this.#parser = this.#parserOf(this.#rows)
      else this.#next()
    }
    return this.#rows
  }

  /** By the first row of a file, which is left to be read again unless it is a header. */
  #parserOf(rows: RowReader): RowParser {
    const { format, type = 'click' } = this.#options
    const { separator = guessSeparator(rows.text()) } = this.#options
    const splitter = new RowSplitter(separator)
    rows.separator = separator
    if (format === 'sequences') {
      rows.repeat()
      return new SequenceParser(splitter, type)
    }
    splitter.split(rows.bytes, rows.start, rows.end)
    const fields = Array.from({ length: splitter.count }, (_, i) => splitter.text(rows.bytes, i))
    const columns = resolveColumns(
      fields.map((field) => field ?? ''),
      this.#mapping,
      this.#options.contextFields,
    )
    if (!columns.hasHeader) rows.repeat()
    return new InteractionParser(splitter, columns, type)
  }

  #place(rows: RowReader): { file: string; line: number; text: string } {
    const text = rows.text().slice(0, maxRejectText)
    return { file: this.#options.files[this.#file], line: rows.line, text }
  }
}

const noRows: RowParser = { advance: () => false, parse: () => 'no row' }

/** Of a rejected row. */
const maxRejectText = 1_000

interface Reject {
  readonly file: string
  readonly line: number
  readonly reason: string
  readonly text: string
}

/** Counts rejected rows and writes them to a file, each once however often it is read. */
class Rejects {
  readonly counts = new Map<string, number>()
  readonly #path: string | undefined
  #judged = -1
  #written = 0
  #lines: string[] = []

  constructor(path: string | undefined) {
    this.#path = path
    if (path === undefined) return
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, '')
  }

  add(ordinal: number, reject: Reject): void {
    if (ordinal <= this.#judged) return
    this.#judged = ordinal
    this.counts.set(reject.reason, (this.counts.get(reject.reason) ?? 0) + 1)
    if (this.#path === undefined || this.#written === maxRejectsWritten) return
    this.#written += 1
    this.#lines.push(`${JSON.stringify(reject)}\n`)
    if (this.#lines.length === 1_000) this.flush()
  }

  flush(): void {
    if (this.#path === undefined || this.#lines.length === 0) return
    appendFileSync(this.#path, this.#lines.join(''))
    this.#lines = []
  }
}
