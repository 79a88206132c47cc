/**
 * Files of exported tables: written under another name and renamed when they are whole, read piece
 * by piece. Talks to the file system; what is in the files is `src/embedding`'s business.
 */
import { createReadStream } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'

import { ServiceError } from '../../base/errors.ts'
import type { ByteSource } from '../../embedding/exchange/table-import.ts'

export const tableFormats = ['ndjson', 'npy'] as const
export type TableFormat = (typeof tableFormats)[number]

type Pieces = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** Names of a table's files. */
export const tableFiles = {
  ndjson: (table: string) => [`${table}.ndjson`],
  npy: (table: string) => [`${table}-keys.npy`, `${table}-values.npy`],
} as const satisfies Record<TableFormat, (table: string) => readonly string[]>

/** Durable when it resolves; before, what was there is. Throws `OUTPUT_FAILED`. */
export async function writeWhole(path: string, pieces: Pieces): Promise<void> {
  const partial = `${path}.partial`
  try {
    const file = await open(partial, 'w')
    try {
      for await (const piece of pieces) await file.appendFile(piece)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
  } catch (cause) {
    await rm(partial, { force: true })
    const details = { file: path, reason: String(cause) }
    throw new ServiceError('OUTPUT_FAILED', details, { cause })
  }
}

/** Throws `INPUT_UNREADABLE`. */
export async function* piecesOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of createReadStream(path)) {
      const bytes: Uint8Array = piece
      yield bytes
    }
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/** Calls `use` with sources of two files, which are closed then. Throws `INPUT_UNREADABLE`. */
export async function withSources<Result>(
  paths: readonly [string, string],
  use: (first: ByteSource, second: ByteSource) => Promise<Result>,
): Promise<Result> {
  const first = await openSource(paths[0])
  try {
    const second = await openSource(paths[1])
    try {
      return await use(first.source, second.source)
    } finally {
      await second.file.close()
    }
  } finally {
    await first.file.close()
  }
}

async function openSource(path: string): Promise<{ file: FileHandle; source: ByteSource }> {
  const file = await open(path).catch((cause: unknown) => {
    throw unreadable(path, cause)
  })
  const read = async (into: Uint8Array): Promise<number> => {
    let at = 0
    while (at < into.length) {
      const { bytesRead } = await file.read(into, at, into.length - at)
      if (bytesRead === 0) break
      at += bytesRead
    }
    return at
  }
  return { file, source: { read } }
}

const unreadable = (file: string, cause: unknown): unknown =>
  cause instanceof ServiceError
    ? cause
    : new ServiceError('INPUT_UNREADABLE', { file, reason: String(cause) }, { cause })
