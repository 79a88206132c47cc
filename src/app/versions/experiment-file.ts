/**
 * The record of an experiment on disk: `experiment/` in the data directory, files of one JSON
 * object per line that anybody can read; see docs/formats.md. A line is with the system before an
 * answer leaves, so it outlives the process; a power cut may take the newest ones.
 *
 * Each file begins with the counts so far, so the newest one is enough to go on, and the one before
 * it has what its window may still need.
 */
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

import * as z from 'zod'

import type { VersionTotals } from '../../serving/versions/experiment.ts'
import { makeDirectory } from '../make-directory.ts'
import { totals } from './experiment-record.ts'

const line = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('counts'),
    since: z.number(),
    /** Events before this are in the counts. */
    position: z.string(),
    versions: z.record(z.string(), totals),
  }),
  z.object({
    kind: z.literal('answer'),
    number: z.int(),
    requestId: z.string(),
    user: z.string(),
    version: z.string(),
    items: z.array(z.string()),
    at: z.number(),
  }),
  z.object({
    kind: z.literal('outcome'),
    offset: z.string(),
    at: z.number(),
    answer: z.int(),
    requestId: z.string(),
    version: z.string(),
    itemId: z.string(),
    rank: z.int().exactOptional(),
    isFirst: z.boolean(),
  }),
  z.object({ kind: z.literal('position'), position: z.string() }),
  z.object({ kind: z.literal('forget'), user: z.string() }),
])

export type RecordLine = z.infer<typeof line>

interface Counts {
  /** When counting began, epoch ms. */
  readonly since: number
  readonly position: string
  readonly versions: Readonly<Record<string, VersionTotals>>
}

export interface ExperimentFileOptions {
  readonly directory: string
  /** A file ends here. */
  readonly segmentBytes: number
  /** Files kept. */
  readonly keepSegments: number
  /** What a new file begins with. */
  readonly counts: () => Counts
  /** It cannot be written to: what is recorded now is lost. */
  readonly onFailure: (error: unknown) => void
}

const nameOf = (segment: number): string => `${String(segment).padStart(6, '0')}.ndjson`

/** Invariant: whole lines alone are in a file, but for the end of the newest after a power cut. */
export class ExperimentFile {
  readonly #options: ExperimentFileOptions
  #segment: number
  #file: number | undefined
  #bytes = 0
  #pending: string[] = []
  #isBroken = false

  constructor(options: ExperimentFileOptions) {
    this.#options = options
    this.#segment = segmentsOf(options.directory).at(-1) ?? 0
  }

  /** Lines of the newest file, and of the one before it. What is no line is passed over. */
  read(): { readonly before: readonly RecordLine[]; readonly newest: readonly RecordLine[] } {
    const { directory } = this.#options
    const [newest, before] = segmentsOf(directory).toReversed()
    return {
      before: before === undefined ? [] : linesOf(join(directory, nameOf(before))),
      newest: newest === undefined ? [] : linesOf(join(directory, nameOf(newest))),
    }
  }

  /** With the system by the end of the turn, and before whoever waits now goes on. */
  add(entry: RecordLine): void {
    if (this.#pending.length === 0) queueMicrotask(() => this.flush())
    this.#pending.push(`${JSON.stringify(entry)}\n`)
  }

  /** Before anything is counted: what a new file begins with is what has been counted before it. */
  open(): void {
    if (this.#file === undefined) this.#attempt(() => (this.#file = this.#open()))
  }

  flush(): void {
    if (this.#pending.length === 0) return
    const bytes = Buffer.from(this.#pending.join(''))
    this.#pending = []
    this.#attempt(() => {
      this.#file ??= this.#open()
      for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at)
      this.#bytes += bytes.length
      if (this.#bytes >= this.#options.segmentBytes) this.#begin()
    })
  }

  #attempt(work: () => void): void {
    try {
      work()
      this.#isBroken = false
    } catch (error) {
      // Once, and not for each line.
      if (!this.#isBroken) this.#options.onFailure(error)
      this.#isBroken = true
    }
  }

  close(): void {
    this.flush()
    this.#shut()
  }

  /** The newest file, to go on with; it may end in the middle of a line. */
  #open(): number {
    if (this.#segment === 0) return this.#create()
    const path = join(this.#options.directory, nameOf(this.#segment))
    const bytes = readFileSync(path)
    this.#bytes = bytes.lastIndexOf(10) + 1
    if (this.#bytes < bytes.length) truncateSync(path, this.#bytes)
    return openSync(path, 'a')
  }

  #begin(): void {
    this.#shut()
    this.#file = this.#create()
    const { directory, keepSegments } = this.#options
    for (const segment of segmentsOf(directory).slice(0, -keepSegments)) {
      rmSync(join(directory, nameOf(segment)), { force: true })
    }
  }

  #create(): number {
    makeDirectory(this.#options.directory)
    const path = join(this.#options.directory, nameOf(this.#segment + 1))
    const head = Buffer.from(`${JSON.stringify({ kind: 'counts', ...this.#options.counts() })}\n`)
    const file = openSync(path, 'w')
    this.#segment += 1
    this.#bytes = writeSync(file, head)
    return file
  }

  #shut(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }
}

/** Ascending. */
const segmentsOf = (directory: string): readonly number[] =>
  (existsSync(directory) ? readdirSync(directory) : [])
    .flatMap((name) => (/^\d{6,}\.ndjson$/.test(name) ? [parseInt(name, 10)] : []))
    .toSorted((a, b) => a - b)

const linesOf = (path: string): readonly RecordLine[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((text) => {
      const parsed = line.safeParse(jsonOf(text))
      return parsed.success ? [parsed.data] : []
    })

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
