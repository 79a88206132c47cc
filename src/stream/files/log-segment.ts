/**
 * The bytes of the file log: segments of records. A segment is named by the ordinal of its first
 * event; a record holds the events of one append, so an append is there wholly or not at all. See
 * docs/formats.md.
 *
 *     segment = magic u64 | version u32 | first ordinal f64 | crc u32 | record*
 *     record  = crc u32 | length u32 | first ordinal f64 | count u32 | unsynced u32 | events
 *
 * The crc of a record covers everything behind it. `unsynced` tells how many events before this
 * record were not yet known to be on disk when it was written. It lets recovery tell two things
 * apart that look the same: a hole that a power cut left among writes never confirmed, and damage
 * to what was.
 */
import { crc32 } from 'node:zlib'

import { ByteReader, ByteWriter } from '../../base/bytes.ts'

export const segmentHeaderBytes = 24
export const recordHeaderBytes = 24

/** An append may hold at most this many events and bytes of them. */
export const maxRecordEvents = 65_536
export const maxRecordBytes = 16 * 2 ** 20

const magic = [0x68737266, 0x676f6c74] as const // "frshtlog"
const formatVersion = 1

export const segmentName = (first: number): string => `${String(first).padStart(16, '0')}.segment`

/** The first ordinal in a segment's name; undefined for other files. */
export function segmentFirst(name: string): number | undefined {
  const match = /^(\d{16})\.segment$/.exec(name)
  return match === null ? undefined : Number(match[1])
}

export function segmentHeader(first: number): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(segmentHeaderBytes)
  writer.uint32(magic[0]).uint32(magic[1]).uint32(formatVersion).float64(first)
  return writer.uint32(crc32(writer.peek())).finish()
}

/** What is wrong with the header of a segment; undefined: nothing. */
export function segmentHeaderProblem(bytes: Uint8Array, first: number): string | undefined {
  if (bytes.length < segmentHeaderBytes) return 'the header is cut short'
  const reader = new ByteReader(bytes.subarray(0, segmentHeaderBytes))
  if (reader.uint32() !== magic[0] || reader.uint32() !== magic[1]) return 'not a log segment'
  const version = reader.uint32()
  const named = reader.float64()
  if (reader.uint32() !== crc32(bytes.subarray(0, segmentHeaderBytes - 4))) return 'header checksum'
  if (version !== formatVersion) return `version ${version} is unknown`
  return named === first ? undefined : `it starts at event ${named}, its name says ${first}`
}

export interface RecordHeader {
  /** Ordinal of the first event. */
  readonly first: number
  readonly count: number
  /** Bytes of the events. */
  readonly length: number
  readonly unsynced: number
}

/** Fills the header before a payload that stands at `at + recordHeaderBytes` already. */
export function sealRecord(bytes: Uint8Array, at: number, header: RecordHeader): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, recordHeaderBytes)
  view.setUint32(4, header.length, true)
  view.setFloat64(8, header.first, true)
  view.setUint32(16, header.count, true)
  view.setUint32(20, Math.min(header.unsynced, 0xffffffff), true)
  view.setUint32(0, crc32(bytes.subarray(at + 4, at + recordHeaderBytes + header.length)), true)
}

/**
 * The header at `at` if it may be that of a record whose first event is `first` or later; undefined
 * if it cannot. Says nothing of the checksum.
 */
export function recordHeader(
  bytes: Uint8Array,
  at: number,
  first: number,
): RecordHeader | undefined {
  if (at + recordHeaderBytes > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, recordHeaderBytes)
  const header = {
    length: view.getUint32(4, true),
    first: view.getFloat64(8, true),
    count: view.getUint32(16, true),
    unsynced: view.getUint32(20, true),
  }
  const plausible =
    header.first >= first &&
    header.length <= maxRecordBytes &&
    header.count >= 1 &&
    header.count <= maxRecordEvents &&
    Number.isSafeInteger(header.first)
  return plausible ? header : undefined
}

/** Whether the record at `at` is wholly there and unharmed. */
export function isIntact(bytes: Uint8Array, at: number, { length }: RecordHeader): boolean {
  const end = at + recordHeaderBytes + length
  if (end > bytes.length) return false
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 4)
  return view.getUint32(0, true) === crc32(bytes.subarray(at + 4, end))
}

export interface SegmentScan {
  /** Ordinal after the last intact event. */
  readonly end: number
  /** Where the intact records end. */
  readonly bytes: number
  /** What stands there instead of the end of the file. */
  readonly problem?: 'torn' | 'damaged'
}

/**
 * Walks a whole segment. A broken record is *torn* when nothing says that it was ever confirmed,
 * and *damaged* when an intact record behind it was written after it had reached the disk.
 */
export function scanSegment(bytes: Uint8Array, first: number): SegmentScan {
  let at = segmentHeaderBytes
  let end = first
  while (at < bytes.length) {
    const header = recordHeader(bytes, at, end)
    if (header === undefined || header.first !== end || !isIntact(bytes, at, header)) {
      return { end, bytes: at, problem: wasConfirmed(bytes, at, end) ? 'damaged' : 'torn' }
    }
    at += recordHeaderBytes + header.length
    end += header.count
  }
  return { end, bytes: at }
}

/** Whether some intact record behind `from` knew the event `ordinal` to be on disk. */
function wasConfirmed(bytes: Uint8Array, from: number, ordinal: number): boolean {
  for (let at = from + 1; at + recordHeaderBytes <= bytes.length; at += 1) {
    const header = recordHeader(bytes, at, ordinal + 1)
    if (header === undefined || header.first - header.unsynced <= ordinal) continue
    if (isIntact(bytes, at, header)) return true
  }
  return false
}
