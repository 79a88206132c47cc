/**
 * The batch journal kept where the next trainer finds it, whatever machine that one is on. Only
 * whoever has the lease writes there and reads it.
 */
import type { BatchJournal, NumberedEntry } from '../../stream/files/journal.ts'

export interface JournalCopy {
  /** Undefined: nothing was ever kept there, or it was lost. Throws `JOURNAL_DAMAGED`. */
  read(): Promise<JournalContents | undefined>
  /**
   * Has the entry, all before it and none after it, when it resolves; and forgets what the journal
   * has forgotten. Throws `SYNC_*`.
   */
  append(entry: NumberedEntry, journal: Pick<BatchJournal, 'first' | 'entries'>): Promise<void>
  close(): void
}

export interface JournalContents {
  /** Number of the oldest entry, or of the next where there is none. */
  readonly first: number
  readonly entries: readonly NumberedEntry[]
}
