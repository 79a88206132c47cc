/**
 * What operators see of a process beyond its metrics: how it is configured, what it has on disk,
 * what it could not use. What a process has no part for is absent, and so is its route.
 */
import type { TableStats } from '../../embedding/embedding-table.ts'
import type { LiveIndexStats } from '../live-index.ts'

/** The mark at which a table is restricted, and what is left then. */
interface RestrictMarks {
  readonly policy: string
  readonly numReserved: number
  readonly trigger: number
}

export interface AdminTable extends TableStats {
  readonly name: string
  readonly dim: number
  readonly restrict?: RestrictMarks
}

export interface AdminCheckpoint {
  /** As `inspect` takes it. */
  readonly name: string
  readonly modelVersion: number
  /** Epoch ms. */
  readonly createdAt: number
  readonly bytes: number
  /** Events folded up to here, per partition. */
  readonly offsets: Readonly<Record<string, string>>
  /** The full checkpoint that it is a delta to. */
  readonly base?: string
}

/** A batch that the guard refused, kept as a file. */
export interface RefusedBatchView {
  readonly name: string
  readonly bytes: number
  /** Epoch ms. */
  readonly at: number
}

export interface DeadLettersView {
  readonly batches: readonly RefusedBatchView[]
  /** Values of the topic that are no events, the newest first. */
  readonly letters: readonly object[]
  /** Where they are instead, if so configured. */
  readonly topic?: string
}

export interface Administration {
  /** Defaults filled in, secrets starred. */
  configuration(): object
  /** With the role `trainer`; empty before its first status. */
  readonly tables?: (() => readonly AdminTable[]) | undefined
  /** With the role `trainer`: what its folder has, the newest first. */
  readonly checkpoints?: (() => readonly AdminCheckpoint[]) | undefined
  /** With the role `trainer`. At most `limit` of each kind. */
  readonly deadLetters?: ((limit: number) => Promise<DeadLettersView>) | undefined
  /** The text of one refused batch; undefined: there is none of that name. */
  readonly refusedBatch?: ((name: string) => Promise<string | undefined>) | undefined
  /** With the role `serving`. */
  readonly index?: (() => LiveIndexStats) | undefined
}
