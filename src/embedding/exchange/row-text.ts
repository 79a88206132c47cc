/**
 * One row as a line of NDJSON, and back:
 *
 *     {"key":"00000000000000ff","vector":[0.5,-1],"state":[0.1,0.1],"count":3,
 *      "lastSeen":1700000000000,"version":12}
 *
 * Floats are written with as many digits as it takes to read the same f32 back. Only `key` and
 * `vector` must be there.
 */
import type { Keys } from '../../base/keys.ts'
import type { Row } from './row-records.ts'

/** Why a row cannot be taken; whoever reads the file says where it stands. */
export class RowDamage extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'RowDamage'
  }
}

/** What a row must have, and what it gets where a line does not say. */
export interface RowShape {
  readonly dim: number
  /** Floats of optimizer state of the table's rows. */
  readonly stateFloats: number
  readonly lastSeen: number
  readonly version: number
}

const fields = new Set(['key', 'vector', 'state', 'count', 'lastSeen', 'version'])
const largestWord = 2 ** 32 - 1
/** The largest version marks free rows. */
const largestVersion = largestWord - 1
/** Of a JavaScript date, epoch ms. */
const latestTime = 8.64e15

export function formatRow({ key, vector, state, count, lastSeen, version }: Row): string {
  const parts = [`"key":"${keyText(key)}"`, `"vector":${floatsText(vector)}`]
  if (state.length > 0) parts.push(`"state":${floatsText(state)}`)
  parts.push(`"count":${count}`, `"lastSeen":${lastSeen}`, `"version":${version}`)
  return `{${parts.join(',')}}`
}

/** 16 hexadecimal digits, high ones first. */
export const keyText = (key: Keys): string =>
  key[1].toString(16).padStart(8, '0') + key[0].toString(16).padStart(8, '0')

const floatsText = (floats: ArrayLike<number>): string =>
  `[${Array.from(floats, floatText).join(',')}]`

/**
 * A decimal that is read back as this f32, of as few digits as that takes from six on; nine always
 * do. An integer of so many digits divided by a power of ten up to 10^22, which is exact, is the
 * double nearest to the decimal meant, and is printed as that.
 */
function floatText(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0'
  const point = pointOf(Math.abs(value))
  if (point === leastPoint || point === greatestPoint) return rareFloatText(value)
  for (let digits = 6; digits < 9; digits += 1) {
    const shorter = rounded(value, digits - point)
    if (Math.fround(shorter) === value) return String(shorter)
  }
  return String(rounded(value, 9 - point))
}

const powers = Array.from({ length: 23 }, (_, i) => Number(`1e${i}`))
const [leastPoint, greatestPoint] = [-13, 6]
/** 10^leastPoint and up. */
const bounds = Array.from({ length: greatestPoint - leastPoint + 1 }, (_, i) =>
  Number(`1e${i + leastPoint}`),
)

/** The least p with magnitude < 10^p: digits before the decimal point, or less zeros behind it. */
function pointOf(magnitude: number): number {
  let point = 0
  while (point < greatestPoint && magnitude >= bounds[point - leastPoint]) point += 1
  while (point > leastPoint && magnitude < bounds[point - 1 - leastPoint]) point -= 1
  return point
}

const rounded = (value: number, decimals: number): number =>
  Math.round(value * powers[decimals]) / powers[decimals]

/** The same for any size, ten times as slow. */
function rareFloatText(value: number): string {
  for (const digits of [6, 7, 8]) {
    const shorter = Number(value.toPrecision(digits))
    if (Math.fround(shorter) === value) return String(shorter)
  }
  return String(Number(value.toPrecision(9)))
}

/** `state` is empty where the line has none. Throws `RowDamage`. */
export function parseRow(line: string, shape: RowShape): Row {
  const row = parseObject(line)
  for (const field of row.keys()) {
    if (!fields.has(field)) throw new RowDamage(`"${field}" is no field of a row`)
  }
  const whole = (field: string, least: number, most: number): number | undefined => {
    const value = row.get(field)
    if (value === undefined) return undefined
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) {
      return value
    }
    throw new RowDamage(`"${field}" is not a whole number from ${least} to ${most}`)
  }
  const state = row.has('state') ? floatsOf(row, 'state', shape.stateFloats) : []
  return {
    key: parseKey(row.get('key')),
    vector: floatsOf(row, 'vector', shape.dim),
    state,
    count: whole('count', 0, largestWord) ?? 0,
    lastSeen: whole('lastSeen', -latestTime, latestTime) ?? shape.lastSeen,
    version: Math.min(whole('version', 0, largestVersion) ?? shape.version, shape.version),
  }
}

function parseObject(line: string): ReadonlyMap<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new RowDamage(line.trim() === '' ? 'it is empty' : 'it is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RowDamage('it is not a JSON object')
  }
  return new Map(Object.entries(value))
}

function parseKey(value: unknown): Keys {
  if (typeof value !== 'string' || !/^[0-9a-fA-F]{1,16}$/.test(value)) {
    throw new RowDamage('"key" is not a string of 1 to 16 hexadecimal digits')
  }
  const digits = value.padStart(16, '0')
  const key = Uint32Array.of(parseInt(digits.slice(8), 16), parseInt(digits.slice(0, 8), 16))
  if (key[0] === 0 && key[1] === 0) throw new RowDamage('key 0 is no key')
  return key
}

function floatsOf(
  row: ReadonlyMap<string, unknown>,
  field: string,
  length: number,
): ArrayLike<number> {
  const value = row.get(field)
  if (!Array.isArray(value)) throw new RowDamage(`"${field}" is not an array`)
  if (value.length !== length) {
    throw new RowDamage(`"${field}" has ${value.length} numbers instead of ${length}`)
  }
  const wrong = value.findIndex((member) => !isFloat(member))
  if (wrong >= 0) throw new RowDamage(`"${field}" has no finite 32-bit float at ${wrong}`)
  return Float32Array.from(value)
}

const isFloat = (value: unknown): boolean =>
  typeof value === 'number' && Number.isFinite(Math.fround(value))
