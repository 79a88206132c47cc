/** CSV, TSV and their like: `;`, `|`, `::` or blanks between columns, with or without a header. */
import { ServiceError } from '../../base/errors.ts'
import {
  guessSeparator,
  RowReader,
  RowSplitter,
  type Separator,
} from '../../stream/recorded/delimited-rows.ts'
import { areNames } from './mapping.ts'
import { sampleRows, type ImportSource, type SourceOptions, type SourceRow } from './source.ts'

/** Throws `LOG_UNREADABLE`, and `INPUT_INVALID` for a file without rows. */
export async function openDelimited(path: string, options: SourceOptions): Promise<ImportSource> {
  const { separator, rows } = await beginningOf(path, options)
  const [first, second = []] = rows
  if (first === undefined) {
    throw new ServiceError('INPUT_INVALID', { file: path, place: 'its start', reason: 'no rows' })
  }
  const hasNames = options.hasHeader ?? isHeader(first, second)
  const columns = hasNames ? uniqueNames(first) : first.map((_, i) => String(i + 1))
  const header = hasNames ? 'with a header' : 'without a header'
  return {
    format: `text, columns separated by ${JSON.stringify(separator)}, ${header}`,
    columns,
    hasNames,
    sample: hasNames ? rows.slice(1) : rows,
    rows: (wanted) => {
      const places = wanted.map((name) => columns.indexOf(name))
      return rowsOf(path, { ...options, separator }, { places, hasHeader: hasNames })
    },
  }
}

interface Beginning {
  readonly separator: Separator
  readonly rows: readonly (readonly string[])[]
}

async function beginningOf(path: string, options: SourceOptions): Promise<Beginning> {
  const reader = await RowReader.open(path, options.encoding)
  try {
    const rows: string[][] = []
    if (!(await reader.first())) return { separator: ',', rows }
    const separator = options.separator ?? guessSeparator(reader.text())
    const splitter = new RowSplitter(separator)
    reader.separator = separator
    reader.repeat()
    do {
      while (rows.length <= sampleRows && reader.advance()) {
        splitter.split(reader.bytes, reader.start, reader.end)
        rows.push(Array.from({ length: splitter.count }, (_, i) => textOf(splitter, reader, i)))
      }
    } while (rows.length <= sampleRows && (await reader.more()))
    return { separator, rows }
  } finally {
    reader.close()
  }
}

/** What is no UTF-8 is only looked at here; `rowsOf` refuses it. */
function textOf(splitter: RowSplitter, reader: RowReader, column: number): string {
  try {
    return splitter.text(reader.bytes, column) ?? ''
  } catch {
    return '\uFFFD'
  }
}

/** Names, where the row below has a number, or names that are known. */
const isHeader = (first: readonly string[], second: readonly string[]): boolean =>
  first.every((cell) => cell.trim() !== '' && !isNumeric(cell)) &&
  (areNames(first) || second.some((cell, i) => isNumeric(cell) && !isNumeric(first[i] ?? '')))

const isNumeric = (cell: string): boolean =>
  cell.trim() !== '' && (!Number.isNaN(Number(cell)) || /^\d{4}-\d\d-\d\d/.test(cell))

/** A name that is there twice is told apart by its place. */
const uniqueNames = (names: readonly string[]): readonly string[] =>
  names.map((name, i) => {
    const own = name.trim()
    return own === '' || names.indexOf(name) !== i ? `${own}#${i + 1}` : own
  })

async function* rowsOf(
  path: string,
  { separator, encoding }: SourceOptions & { readonly separator: Separator },
  { places, hasHeader }: { readonly places: readonly number[]; readonly hasHeader: boolean },
): AsyncGenerator<readonly SourceRow[]> {
  const reader = await RowReader.open(path, encoding)
  const splitter = new RowSplitter(separator)
  try {
    if (!(await reader.first())) return
    reader.separator = separator
    if (!hasHeader) reader.repeat()
    do {
      const rows: SourceRow[] = []
      while (reader.advance()) rows.push(rowAt(reader, splitter, places))
      if (rows.length > 0) yield rows
    } while (await reader.more())
  } finally {
    reader.close()
  }
}

function rowAt(reader: RowReader, splitter: RowSplitter, places: readonly number[]): SourceRow {
  const { bytes, start, end, line } = reader
  splitter.split(bytes, start, end)
  try {
    return { line, cells: places.map((place) => splitter.text(bytes, place)) }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    const problem = 'not UTF-8: pass --encoding latin1 if it is that'
    return { line, cells: [reader.text().slice(0, 1_000)], problem }
  }
}
