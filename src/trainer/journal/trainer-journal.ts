/**
 * The batch journal as the trainer has it: a file, and where trainers share no folder a copy that
 * the next one begins from. An entry is in both before it takes effect.
 */
import { join } from 'node:path'

import {
  BatchJournal,
  type JournalEntry,
  type JournalOptions,
  type NumberedEntry,
} from '../../stream/files/journal.ts'
import type { TrainerProcess } from '../trainer-config.ts'
import type { JournalCopy } from './journal-copy.ts'

export class TrainerJournal {
  readonly #file: BatchJournal
  readonly #copy: JournalCopy | undefined

  /**
   * What the copy says is true: the file may be of an older life, or another trainer's. Throws what
   * `BatchJournal` and `JournalCopy` throw.
   */
  static async open(options: JournalOptions, copy?: JournalCopy): Promise<TrainerJournal> {
    const file = new BatchJournal(options)
    try {
      const found = await copy?.read()
      if (found !== undefined) file.replace(found.first, found.entries)
    } catch (error) {
      file.close()
      throw error
    }
    return new TrainerJournal(file, copy)
  }

  private constructor(file: BatchJournal, copy: JournalCopy | undefined) {
    this.#file = file
    this.#copy = copy
  }

  /** Number of the oldest entry that is kept. */
  get first(): number {
    return this.#file.first
  }

  /** Number of the next entry. */
  get next(): number {
    return this.#file.next
  }

  /** Throws `LOG_DISK_FULL`, and then nothing was written; `SYNC_*`. */
  async append(entry: JournalEntry): Promise<void> {
    const sequence = this.#file.append(entry)
    await this.#copy?.append({ sequence, entry }, this.#file)
  }

  /** Entries from the number `from` on. Throws `JOURNAL_INCOMPLETE`. */
  entries(from: number): readonly NumberedEntry[] {
    return this.#file.entries(from)
  }

  /** Forgets entries before that number; the copy does with the next one. */
  truncateBefore(sequence: number): void {
    this.#file.truncateBefore(sequence)
  }

  /** The next entry gets that number; those from there on are forgotten. */
  restartAt(sequence: number): void {
    this.#file.restartAt(sequence)
  }

  sync(): void {
    this.#file.sync()
  }

  close(): void {
    this.#copy?.close()
    this.#file.close()
  }
}

/** Undefined: batches are not recorded. */
export function openJournal(
  { journalDirectory, journalWorkshop: workshop }: TrainerProcess,
  copy: JournalCopy | undefined,
): Promise<TrainerJournal> | undefined {
  if (journalDirectory === undefined) return undefined
  const path = journalPath(journalDirectory)
  return TrainerJournal.open({ path, ...(workshop !== undefined && { workshop }) }, copy)
}

export const journalPath = (directory: string): string => join(directory, 'batches')
