/** Opens a file by its format, which its name or its first bytes tell where nobody says it. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'

import { ServiceError } from '../../base/errors.ts'
import { openDelimited } from './delimited-source.ts'
import { openNdjson } from './ndjson-source.ts'
import { openParquet } from './parquet-source.ts'
import type { ImportSource, SourceFormat, SourceOptions } from './source.ts'

/** Throws `INPUT_UNREADABLE`, `INPUT_INVALID`. */
export async function openSource(path: string, options: SourceOptions): Promise<ImportSource> {
  const format = options.format ?? (await guessFormat(path))
  if (format === 'parquet') return openParquet(path)
  return format === 'ndjson' ? openNdjson(path, options) : openDelimited(path, options)
}

async function guessFormat(path: string): Promise<SourceFormat> {
  const name = path.toLowerCase().replace(/\.gz$/, '')
  if (/\.(ndjson|jsonl|json)$/.test(name)) return 'ndjson'
  if (name.endsWith('.parquet') || (await beginning(path, 4)) === 'PAR1') return 'parquet'
  return (await beginning(path, 1)) === '{' ? 'ndjson' : 'delimited'
}

async function beginning(path: string, bytes: number): Promise<string> {
  try {
    await using file = await open(path, 'r')
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0)
    return buffer.toString('latin1', 0, bytesRead)
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** SHA-256 of the file's bytes. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  } catch (error) {
    throw unreadable(path, error)
  }
  return hash.digest('hex')
}

const unreadable = (file: string, error: unknown): ServiceError => {
  const reason = error instanceof Error ? error.message : String(error)
  return new ServiceError('INPUT_UNREADABLE', { file, reason }, { cause: error })
}
