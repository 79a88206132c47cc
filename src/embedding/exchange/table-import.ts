/**
 * Rows from files into a table: NDJSON as `table-export.ts` writes it, and pairs of NumPy arrays.
 * A file is read in pieces of any size and checked row by row; the first thing wrong ends the
 * import with the line or row at which it stands, and the caller throws away the table.
 */
import type { Awaitable, Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { Stamp } from '../embedding-table.ts'
import { KeyList } from '../memory/key-list.ts'
import type { TableSpec } from '../table-spec.ts'
import {
  NpyDamage,
  npyDataOffset,
  type NpyHeader,
  npyPreambleBytes,
  parseNpyHeader,
} from './npy.ts'
import { type Row, RowRecords } from './row-records.ts'
import { keyText, parseRow, RowDamage, type RowShape } from './row-text.ts'

export interface WriteOptions {
  /** The next delta has these rows; default: as it would without them. */
  readonly changed?: boolean
}

/** What is asked of a table to import into it. */
export interface ImportableTable {
  readonly spec: TableSpec
  readonly recordBytes: number
  assign(keys: Keys, vectors: Float32Array, stamp: Stamp): Awaitable<void>
  readRecords(keys: Keys, records: Uint8Array, present: Uint8Array): Awaitable<void>
  /** Returns how many were refused. */
  writeRecords(records: Uint8Array, options?: WriteOptions): Awaitable<number>
}

/** What is wrong with a file and where: "line 7". */
export class ImportDamage extends Error {
  readonly place: string
  readonly reason: string

  constructor(place: string, reason: string) {
    super(`${place}: ${reason}`)
    this.name = 'ImportDamage'
    this.place = place
    this.reason = reason
  }
}

/** Fills an array from where the last call ended; returns how many bytes there were. */
export interface ByteSource {
  read(into: Uint8Array): Promise<number>
}

/** Rows staged at a time: what an import holds in memory, beside the keys. */
const batchRows = 512
/** No row of any table comes near it. */
const longestLine = 4 * 1024 * 1024

/**
 * Sets every row of a file of lines, also over one that is there. `stamp` is for lines that do not
 * say when their row was seen or changed last; no row gets a later version. Returns the number of
 * rows. Throws `ImportDamage`.
 */
export async function importNdjson(
  table: ImportableTable,
  pieces: AsyncIterable<Uint8Array>,
  stamp: Stamp,
): Promise<number> {
  const arrivals = new Arrivals(table, stamp, 'line')
  const { dim, stateFloats } = arrivals
  const shape = { dim, stateFloats, lastSeen: stamp.time, version: stamp.version }
  let rows: Row[] = []
  const flush = async (): Promise<void> => {
    const keys = Uint32Array.from(rows.flatMap(({ key }) => [...key]))
    const vectors = new Float32Array(rows.length * dim)
    for (const [i, { vector }] of rows.entries()) vectors.set(vector, i * dim)
    await arrivals.take(keys, vectors, rows)
    rows = []
  }
  for await (const lines of linesOf(pieces)) {
    for (const line of lines) {
      rows.push(parseAt(line, shape, arrivals.rows + rows.length + 1))
      if (rows.length === batchRows) await flush()
    }
  }
  await flush()
  return arrivals.finish()
}

function parseAt(line: string, shape: RowShape, number: number): Row {
  try {
    return parseRow(line, shape)
  } catch (error) {
    if (error instanceof RowDamage) throw new ImportDamage(`line ${number}`, error.message)
    throw error
  }
}

/** The lines of a text, as many at a time as a piece ends. */
async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[]> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  let number = 1
  const decode = (piece?: Uint8Array): string => {
    try {
      return piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true })
    } catch {
      throw new ImportDamage(`from line ${number} on`, 'it is not UTF-8')
    }
  }
  for await (const piece of pieces) {
    const lines = (rest + decode(piece)).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > longestLine) {
      throw new ImportDamage(`line ${number + lines.length}`, `over ${longestLine} characters`)
    }
    yield lines
    number += lines.length
  }
  rest += decode()
  if (rest !== '') yield [rest]
}

/**
 * Sets the vectors of a pair of .npy files as `npyPairOf` makes them, also over rows that are
 * there; their optimizer state starts fresh. Returns the number of rows. Throws `ImportDamage`.
 */
export async function importNpyPair(
  table: ImportableTable,
  files: { readonly keys: ByteSource; readonly values: ByteSource },
  stamp: Stamp,
): Promise<number> {
  const { dim } = table.spec
  const [keyShape, valueShape] = [await headerOf(files.keys), await headerOf(files.values)]
  const rows = requireShapes(keyShape, valueShape, dim)
  const arrivals = new Arrivals(table, stamp, 'row')
  while (arrivals.rows < rows) {
    const n = Math.min(batchRows, rows - arrivals.rows)
    const [keys, vectors] = [new Uint32Array(2 * n), new Float32Array(n * dim)]
    await fill(files.keys, keys, { of: 'keys', first: arrivals.rows, rows: n })
    await fill(files.values, vectors, { of: 'values', first: arrivals.rows, rows: n })
    requireGood(keys, vectors, arrivals.rows)
    await arrivals.take(keys, vectors)
  }
  for (const [of, source] of Object.entries(files)) {
    if ((await source.read(new Uint8Array(1))) === 0) continue
    throw new ImportDamage(`the end of the ${of}`, 'more bytes than its shape says')
  }
  return arrivals.finish()
}

async function headerOf(source: ByteSource): Promise<NpyHeader> {
  try {
    const preamble = new Uint8Array(npyPreambleBytes)
    const length = await source.read(preamble)
    const header = new Uint8Array(npyDataOffset(preamble.subarray(0, length)))
    header.set(preamble)
    const rest = header.subarray(npyPreambleBytes)
    if ((await source.read(rest)) < rest.length) throw new NpyDamage('it ends in its header')
    return parseNpyHeader(header)
  } catch (error) {
    if (error instanceof NpyDamage) throw new ImportDamage('its header', error.message)
    throw error
  }
}

/** How many rows a pair has. */
function requireShapes(keys: NpyHeader, values: NpyHeader, dim: number): number {
  const [rows] = keys.shape
  const shape = values.shape.join(', ')
  if (keys.type === '<f4' || keys.shape.length !== 1) {
    throw wrongHeader('keys are one dimension of <u8 or <i8')
  }
  if (values.type !== '<f4' || values.shape.length !== 2) {
    throw wrongHeader('values are two dimensions of <f4')
  }
  if (values.shape[0] !== rows || values.shape[1] !== dim) {
    throw wrongHeader(`values are (${shape}) instead of (${rows}, ${dim})`)
  }
  return rows
}

const wrongHeader = (reason: string): ImportDamage => new ImportDamage('its header', reason)

interface Stretch {
  readonly of: string
  readonly first: number
  readonly rows: number
}

async function fill(
  source: ByteSource,
  into: Uint32Array | Float32Array,
  { of, first, rows }: Stretch,
): Promise<void> {
  const bytes = new Uint8Array(into.buffer)
  const found = await source.read(bytes)
  if (found === bytes.length) return
  const whole = Math.floor(found / (bytes.length / rows))
  throw new ImportDamage(`row ${first + whole + 1}`, `the file of the ${of} ends before it`)
}

function requireGood(keys: Keys, vectors: Float32Array, first: number): void {
  const dim = vectors.length / keyCount(keys)
  const at = vectors.findIndex((value) => !Number.isFinite(value))
  if (at >= 0) {
    throw new ImportDamage(`row ${first + Math.floor(at / dim) + 1}`, 'a value is not finite')
  }
  for (let i = 0; i < keys.length; i += 2) {
    if (keys[i] !== 0 || keys[i + 1] !== 0) continue
    throw new ImportDamage(`row ${first + i / 2 + 1}`, 'key 0 is no key')
  }
}

/** Takes rows into a table, batch by batch, and remembers which keys there were. */
class Arrivals {
  readonly dim: number
  readonly #table: ImportableTable
  readonly #stamp: Stamp
  /** What a row of the file is called. */
  readonly #unit: string
  readonly #keys = new KeyList()
  readonly #records: RowRecords
  readonly #present = new Uint8Array(batchRows)

  constructor(table: ImportableTable, stamp: Stamp, unit: string) {
    this.dim = table.spec.dim
    this.#table = table
    this.#stamp = stamp
    this.#unit = unit
    this.#records = new RowRecords(batchRows, table.recordBytes, table.spec.dim)
  }

  /** Taken so far. */
  get rows(): number {
    return this.#keys.size
  }

  get stateFloats(): number {
    return this.#records.stateFloats
  }

  /** At most `batchRows`. `rows`: what they are beside their vectors. */
  async take(keys: Keys, vectors: Float32Array, rows: readonly Row[] = []): Promise<void> {
    const records = this.#records
    const n = keyCount(keys)
    await this.#table.assign(keys, vectors, this.#stamp)
    await this.#table.readRecords(keys, records.bytes, this.#present)
    const refused = this.#present.subarray(0, n).indexOf(0)
    if (refused >= 0) throw this.#damage(this.rows + refused, `the table is full`)
    this.#keys.push(keys)
    if (rows.length === 0) return
    for (const [i, row] of rows.entries()) {
      // A fresh one, as the table has just made it.
      const state = row.state.length > 0 ? row.state : records.row(i).state
      records.set(i, { ...row, state })
    }
    await this.#table.writeRecords(records.bytes.subarray(0, n * this.#table.recordBytes))
  }

  /** The number of rows. Throws where a key came twice. */
  finish(): number {
    const keys = this.#keys.view()
    const sorted = new BigUint64Array(this.#keys.sorted().slice().buffer)
    const repeated = sorted.find((key, i) => i > 0 && key === sorted[i - 1])
    if (repeated === undefined) return this.rows
    const words = new Uint32Array(BigUint64Array.of(repeated).buffer)
    const isIt = (at: number): boolean => keys[2 * at] === words[0] && keys[2 * at + 1] === words[1]
    const places = Array.from({ length: this.rows }, (_, at) => at).filter(isIt)
    const reason = `key ${keyText(words)} was there before, at ${this.#unit} ${places[0] + 1}`
    throw this.#damage(places[1], reason)
  }

  #damage(at: number, reason: string): ImportDamage {
    return new ImportDamage(`${this.#unit} ${at + 1}`, reason)
  }
}
