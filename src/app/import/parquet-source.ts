/**
 * Parquet, a row group at a time, by hyparquet; what is compressed with gzip, Brotli or Zstandard
 * is inflated by Node.
 */
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'

import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import type { AsyncBuffer, FileMetaData } from 'hyparquet'

import { ServiceError } from '../../base/errors.ts'
import { at, columnsOf, stepsOf } from './ndjson-source.ts'
import { sampleRows, type ImportSource, type SourceRow } from './source.ts'

const compressors = {
  GZIP: (bytes: Uint8Array) => gunzipSync(bytes),
  BROTLI: (bytes: Uint8Array) => brotliDecompressSync(bytes),
  ZSTD: (bytes: Uint8Array) => zstdDecompressSync(bytes),
}

interface Opened {
  readonly path: string
  readonly file: AsyncBuffer
  readonly metadata: FileMetaData
}

/** Throws `INPUT_UNREADABLE`, `INPUT_INVALID`. */
export async function openParquet(path: string): Promise<ImportSource> {
  const opened = await openFile(path)
  const { metadata } = opened
  const values = await read(opened, { rowStart: 0, rowEnd: sampleRows })
  if (values.length === 0) throw damaged(path, 'it has no rows')
  const columns = [...new Set(values.flatMap((value) => [...columnsOf(value, '')]))]
  const steps = columns.map(stepsOf)
  const rows = Number(metadata.num_rows)
  const groups = metadata.row_groups.length
  return {
    format: `Parquet, rows: ${rows}, row groups: ${groups}`,
    columns,
    hasNames: true,
    sample: values.map((value) => steps.map((step) => at(value, step))),
    rows: (wanted) => rowsOf(opened, wanted),
  }
}

async function openFile(path: string): Promise<Opened> {
  try {
    const file = await asyncBufferFromFile(path)
    return { path, file, metadata: await parquetMetadataAsync(file) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ServiceError('INPUT_UNREADABLE', { file: path, reason }, { cause: error })
  }
}

async function* rowsOf(
  opened: Opened,
  wanted: readonly string[],
): AsyncGenerator<readonly SourceRow[]> {
  const steps = wanted.map(stepsOf)
  const columns = [...new Set(steps.map(([head = '']) => head))]
  let rowStart = 0
  for (const group of opened.metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    const values = await read(opened, { rowStart, rowEnd, columns })
    const first = rowStart + 1
    yield values.map((value, i) => ({
      line: first + i,
      cells: steps.map((step) => at(value, step)),
    }))
    rowStart = rowEnd
  }
}

interface Rows {
  readonly rowStart: number
  readonly rowEnd: number
  readonly columns?: string[]
}

async function read({ path, file, metadata }: Opened, rows: Rows): Promise<readonly unknown[]> {
  try {
    return await parquetReadObjects({ file, metadata, compressors, ...rows })
  } catch (error) {
    throw damaged(path, error instanceof Error ? error.message : String(error))
  }
}

const damaged = (file: string, reason: string): ServiceError =>
  new ServiceError('INPUT_INVALID', { file, place: 'its rows', reason })
