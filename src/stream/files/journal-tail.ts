/**
 * Reads a journal that another process writes, again and again, for what is new in it. Nothing is
 * locked: an entry that is not whole yet is one of the next look, and a file that was put in the
 * place of the one before is read from its start.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'

import {
  entryBytes,
  firstOf,
  journalHeaderBytes,
  type NumberedEntry,
  scanEntries,
} from './journal.ts'
import { isCode } from './log-files.ts'

/** Where a reader of a journal stands: behind an entry, if it knows one. */
export interface JournalPlace {
  /** Number of the next entry. */
  readonly sequence: number
  /** The entry before that; absent: the place is a checkpoint's. */
  readonly last?: NumberedEntry
}

/** Invariant: `#at` is behind the entry before `#next` of the file that is open. */
export class JournalTail implements Disposable {
  readonly #path: string
  #file: number | undefined
  #at = 0
  #next = 0

  constructor(path: string) {
    this.#path = path
  }

  /**
   * What follows the place by now. Undefined: the journal does not lead on from there, or has
   * another entry before it. Throws `JOURNAL_DAMAGED`.
   */
  read(place: JournalPlace): readonly NumberedEntry[] | undefined {
    if (!this.#isSameFile()) this.#open()
    const isNext = this.#at > 0 && this.#next === place.sequence
    const bytes = this.#bytes(isNext ? this.#at : 0)
    if (isNext) return this.#scan(bytes)
    this.#at = 0
    if (bytes.length < journalHeaderBytes) return undefined
    const first = firstOf(bytes)
    this.#at = journalHeaderBytes
    this.#next = first
    const entries = this.#scan(bytes.subarray(journalHeaderBytes))
    return leadsOn(place, { first, entries }) ? entries.slice(place.sequence - first) : undefined
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }

  #scan(bytes: Uint8Array): readonly NumberedEntry[] {
    const entries: NumberedEntry[] = []
    const { next, end } = scanEntries(bytes, this.#next, (entry) => entries.push(entry))
    this.#at += end
    this.#next = next
    return entries
  }

  /** The open file keeps its number from others. */
  #isSameFile(): boolean {
    if (this.#file === undefined) return false
    const now = statSync(this.#path, { throwIfNoEntry: false })
    const { ino, size } = fstatSync(this.#file)
    return now?.ino === ino && size >= this.#at
  }

  #open(): void {
    this[Symbol.dispose]()
    this.#at = 0
    try {
      this.#file = openSync(this.#path, 'r')
    } catch (error) {
      if (!isCode(error, 'ENOENT')) throw error
    }
  }

  #bytes(from: number): Uint8Array {
    if (this.#file === undefined) return new Uint8Array()
    const bytes = new Uint8Array(Math.max(0, fstatSync(this.#file).size - from))
    let length = 0
    while (length < bytes.length) {
      const read = readSync(this.#file, bytes, length, bytes.length - length, from + length)
      if (read === 0) break
      length += read
    }
    return bytes.subarray(0, length)
  }
}

export interface JournalPart {
  /** Number of the oldest entry. */
  readonly first: number
  readonly entries: readonly NumberedEntry[]
}

/** Whether who stands at the place has done what a journal says, and nothing else. */
export function leadsOn(
  { sequence, last }: JournalPlace,
  { first, entries }: JournalPart,
): boolean {
  if (sequence < first || sequence > first + entries.length) return false
  if (last === undefined) return true
  const before = entries.at(sequence - 1 - first)
  return sequence > first && before !== undefined && isSame(before, last)
}

const isSame = (a: NumberedEntry, b: NumberedEntry): boolean =>
  Buffer.compare(entryBytes(a), entryBytes(b)) === 0
