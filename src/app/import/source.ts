/**
 * A file of rows, whatever its format: delimited text and NDJSON (each also gzip) and Parquet. Rows
 * come in the order of the file, with the cells of the columns that are asked for.
 */
import type { Separator } from '../../stream/recorded/delimited-rows.ts'

export interface SourceRow {
  /** From 1: of the text, of Parquet the row. */
  readonly line: number
  /** Of the columns that were asked for, in their order. */
  readonly cells: readonly unknown[]
  /** Why it is no row, if so. */
  readonly problem?: string
}

export interface ImportSource {
  /** For a person: `CSV, separated by ","`. */
  readonly format: string
  /** In NDJSON and Parquet dots lead into objects. */
  readonly columns: readonly string[]
  /** False: columns are numbers, and mean what their order means. */
  readonly hasNames: boolean
  /** The first rows, whole: where cells are objects they say what the file holds. */
  readonly sample: readonly (readonly unknown[])[]
  /** Of NDJSON: the first value, to see whether it is an event already. */
  readonly first?: unknown
  /** Pieces of the file, from its start. No columns: each row is one cell, the whole value. */
  rows(columns: readonly string[]): AsyncGenerator<readonly SourceRow[]>
}

export const sourceFormats = ['delimited', 'ndjson', 'parquet'] as const
export type SourceFormat = (typeof sourceFormats)[number]

export const encodings = ['utf8', 'latin1'] as const
export type Encoding = (typeof encodings)[number]

export interface SourceOptions {
  /** Absent: by the name of the file, and what it begins with. */
  readonly format?: SourceFormat
  readonly separator?: Separator
  readonly encoding?: Encoding
  /** Absent: by what the first rows look like. */
  readonly hasHeader?: boolean
}

/** Rows that a source shows before it is read. */
export const sampleRows = 200
