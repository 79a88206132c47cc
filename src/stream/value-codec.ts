/**
 * Features and JSON values as bytes: a tag, then the value. Numbers keep every bit (-0 too); key
 * order is kept; integers from 0 up take a varint.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { Features, FeatureValue } from '../base/features.ts'
import type { Json } from './event.ts'

const tags = { null: 0, false: 1, true: 2, integer: 3, double: 4, string: 5, array: 6, object: 7 }

/** Deeper values are refused on the way in, and a damaged file cannot overflow the stack. */
const maxDepth = 32

export function writeValue(writer: ByteWriter, value: Json | FeatureValue): void {
  if (typeof value === 'string') writer.uint8(tags.string).string(value)
  else if (typeof value === 'number') writeNumber(writer, value)
  else if (value === null) writer.uint8(tags.null)
  else if (typeof value === 'boolean') writer.uint8(value ? tags.true : tags.false)
  else if (isList(value)) {
    writer.uint8(tags.array).varint(value.length)
    for (const element of value) writeValue(writer, element)
  } else {
    writer.uint8(tags.object)
    writeFields(writer, value)
  }
}

function isList(value: Json | FeatureValue): value is readonly Json[] {
  return Array.isArray(value)
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (Number.isSafeInteger(value) && (value > 0 || Object.is(value, 0))) {
    writer.uint8(tags.integer).varint(value)
  } else writer.uint8(tags.double).float64(value)
}

function readValue(reader: ByteReader, depth = 0): Json {
  if (depth > maxDepth) throw new RangeError('value is nested too deeply')
  const tag = reader.uint8()
  if (tag === tags.string) return reader.string()
  if (tag === tags.integer) return reader.varint()
  if (tag === tags.double) return reader.float64()
  if (tag === tags.null) return null
  if (tag === tags.false || tag === tags.true) return tag === tags.true
  if (tag === tags.object) return readFields(reader, depth + 1)
  if (tag !== tags.array) throw new RangeError(`unknown value tag ${tag}`)
  const list: Json[] = []
  for (let left = reader.varint(); left > 0; left -= 1) list.push(readValue(reader, depth + 1))
  return list
}

/** Named values, without a tag. */
export function writeFields(writer: ByteWriter, fields: Readonly<Record<string, Json>> | Features) {
  const names = Object.keys(fields)
  writer.varint(names.length)
  for (const name of names) {
    writer.string(name)
    writeValue(writer, fields[name])
  }
}

export function readFields(reader: ByteReader, depth = 0): Record<string, Json> {
  const fields: Record<string, Json> = {}
  for (let left = reader.varint(); left > 0; left -= 1) {
    const name = reader.string()
    setField(fields, name, readValue(reader, depth))
  }
  return fields
}

/** As `readFields`; a value that is no feature is a `RangeError`. */
export function readFeatures(reader: ByteReader): Features {
  const features: Record<string, FeatureValue> = {}
  for (let left = reader.varint(); left > 0; left -= 1) {
    const name = reader.string()
    setField(features, name, readFeature(reader))
  }
  return features
}

export function readFeature(reader: ByteReader): FeatureValue {
  const value = readValue(reader)
  if (typeof value === 'string' || typeof value === 'number') return value
  if (isStrings(value) || isNumbers(value)) return value
  throw new RangeError('a value is no feature')
}

const isStrings = (value: Json): value is readonly string[] =>
  Array.isArray(value) && value.every((element) => typeof element === 'string')

const isNumbers = (value: Json): value is readonly number[] =>
  Array.isArray(value) && value.every((element) => typeof element === 'number')

/** A plain assignment to `__proto__` would be lost. */
export function setField<Value>(fields: Record<string, Value>, name: string, value: Value): void {
  if (name !== '__proto__') fields[name] = value
  else Object.defineProperty(fields, name, { value, enumerable: true, writable: true })
}
