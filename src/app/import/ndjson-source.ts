/** A JSON object on each line. Columns are its members, those within objects by a dotted path. */
import { ServiceError } from '../../base/errors.ts'
import { RowReader } from '../../stream/recorded/delimited-rows.ts'
import { sampleRows, type ImportSource, type SourceOptions, type SourceRow } from './source.ts'

/** Throws `LOG_UNREADABLE`, and `INPUT_INVALID` for a file that begins with no object. */
export async function openNdjson(path: string, options: SourceOptions): Promise<ImportSource> {
  const found = new Set<string>()
  const values: unknown[] = []
  for await (const rows of rowsOf(path, options, [])) {
    const [first] = rows
    if (values.length === 0 && first?.problem !== undefined) {
      const place = `line ${first.line}`
      throw new ServiceError('INPUT_INVALID', { file: path, place, reason: first.problem })
    }
    for (const { cells, problem } of rows.slice(0, sampleRows)) {
      if (problem !== undefined) continue
      values.push(cells[0])
      for (const column of columnsOf(cells[0], '')) found.add(column)
    }
    break
  }
  if (values.length === 0) {
    throw new ServiceError('INPUT_INVALID', { file: path, place: 'its start', reason: 'no rows' })
  }
  const columns = [...found]
  const steps = columns.map(stepsOf)
  return {
    format: 'NDJSON',
    columns,
    hasNames: true,
    sample: values.map((value) => steps.map((way) => at(value, way))),
    first: values[0],
    rows: (wanted) => rowsOf(path, options, wanted),
  }
}

async function* rowsOf(
  path: string,
  { encoding }: SourceOptions,
  columns: readonly string[],
): AsyncGenerator<readonly SourceRow[]> {
  const steps = columns.map(stepsOf)
  const reader = await RowReader.open(path, encoding)
  try {
    do {
      const rows: SourceRow[] = []
      while (reader.advance()) rows.push(rowOf(reader.text(), reader.line, steps))
      if (rows.length > 0) yield rows
    } while (await reader.more())
  } finally {
    reader.close()
  }
}

type Steps = readonly string[]

function rowOf(text: string, line: number, steps: readonly Steps[]): SourceRow {
  try {
    const value: unknown = JSON.parse(text)
    if (!isObject(value)) throw new SyntaxError('a JSON object on each line is expected')
    return { line, cells: steps.length === 0 ? [value] : steps.map((way) => at(value, way)) }
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    return { line, cells: [text.slice(0, 1_000)], problem }
  }
}

/** Objects are walked into, lists are values. */
export function* columnsOf(value: unknown, prefix: string): Generator<string> {
  if (!isObject(value)) return
  for (const [name, member] of Object.entries(value)) {
    if (isObject(member)) yield* columnsOf(member, `${prefix}${name}.`)
    else yield `${prefix}${name}`
  }
}

/** Own members only: `constructor.name` is nobody's column. */
export function at(value: unknown, steps: Steps): unknown {
  let part = value
  for (const step of steps) {
    if (!isObject(part) || !Object.hasOwn(part, step)) return undefined
    part = part[step]
  }
  return part
}

export const stepsOf = (column: string): Steps => column.split('.')

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Date) &&
  !ArrayBuffer.isView(value)
