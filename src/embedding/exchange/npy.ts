/**
 * NumPy's array files (NEP 1), as far as tables need them: the header of an array of little-endian
 * f32 or 64-bit integers in C order. Elements follow it as they lie in memory, so both directions
 * can be streamed: only the header has structure.
 */

/** `<u8` and `<i8` are 64 bits each: keys, whose sign nobody looks at. */
export type NpyType = '<f4' | '<u8' | '<i8'

export interface NpyHeader {
  readonly type: NpyType
  /** Of one dimension or two. */
  readonly shape: readonly number[]
}

/** Why a file is not such an array; its owner turns it into an error of its own. */
export class NpyDamage extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'NpyDamage'
  }
}

/** Bytes that tell how long the header is, in every version of the format. */
export const npyPreambleBytes = 12
const magic = '\u0093NUMPY'
/** What the data is aligned to. */
const alignment = 64
/** NumPy refuses longer headers, too. */
const longestHeader = 10_000
const versionOne = 1
/** Of versions 2 and 3 the length has four bytes, not two. */
const versions: Readonly<Record<number, 2 | 4>> = { [versionOne]: 2, 2: 4, 3: 4 }
const versionAt = magic.length
const lengthAt = versionAt + 2

const codes = (text: string): readonly number[] =>
  Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))
const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes)

/** Everything before the data, in version 1.0, byte for byte as NumPy writes it. */
export function npyHeader({ type, shape }: NpyHeader): Uint8Array<ArrayBuffer> {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`
  const dictionary = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`
  const start = lengthAt + versions[versionOne]
  const end = Math.ceil((start + dictionary.length + 1) / alignment) * alignment
  const text = `${dictionary.padEnd(end - start - 1)}\n`
  const length = [text.length & 0xff, text.length >> 8]
  return Uint8Array.from([...codes(magic), versionOne, 0, ...length, ...codes(text)])
}

/** Where the data begins, from its first `npyPreambleBytes`. Throws `NpyDamage`. */
export function npyDataOffset(bytes: Uint8Array): number {
  if (bytes.length < npyPreambleBytes || latin1(bytes.subarray(0, versionAt)) !== magic) {
    throw new NpyDamage('it is not a .npy file')
  }
  const width = versions[bytes[versionAt]]
  if (width === undefined) throw new NpyDamage(`version ${bytes[versionAt]} is not known`)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const length = width === 2 ? view.getUint16(lengthAt, true) : view.getUint32(lengthAt, true)
  if (length > longestHeader) throw new NpyDamage(`a header of ${length} bytes`)
  return lengthAt + width + length
}

/** Reads everything before the data: `npyDataOffset` bytes. Throws `NpyDamage`. */
export function parseNpyHeader(bytes: Uint8Array): NpyHeader {
  const text = latin1(bytes.subarray(npyPreambleBytes - 2))
  const found = (pattern: RegExp, what: string): string => {
    const value = pattern.exec(text)?.[1]
    if (value === undefined) throw new NpyDamage(`its header has no ${what}`)
    return value
  }
  const type = found(/'descr': *'([^']*)'/, 'descr')
  if (type !== '<f4' && type !== '<u8' && type !== '<i8') {
    throw new NpyDamage(`its elements are ${type}, not <f4, <u8 or <i8`)
  }
  const order = found(/'fortran_order': *(True|False)/, 'fortran_order')
  const tuple = found(/'shape': *\(([0-9, ]*)\)/, 'shape')
  const shape = tuple.split(',').flatMap((part) => (part.trim() === '' ? [] : Number(part)))
  if (shape.length !== 1 && shape.length !== 2) {
    throw new NpyDamage(`its shape is (${tuple}), not of one or two dimensions`)
  }
  if (order === 'True' && shape.length === 2) throw new NpyDamage('its columns come first')
  return { type, shape }
}
