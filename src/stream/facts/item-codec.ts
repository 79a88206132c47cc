/**
 * The items of a catalogue as bytes, encoded one by one as they come: to encode 200,000 at once
 * takes a trainer a second, in which it learns nothing; to copy them a tenth of that.
 */
import { ByteWriter, type ByteReader } from '../../base/bytes.ts'
import { grown } from '../columns.ts'
import type { Item } from '../example.ts'
import { readFeatures, readFields, writeFields } from '../value-codec.ts'

const flags = { present: 1, hidden: 2, tagged: 4 }
/** Bytes of what items were before that may be kept in any case. */
const leeway = 1 << 20

/** Invariant: the bytes of a handle are those from its start to its end; from 0 to 0: not yet. */
export class EncodedItems {
  readonly #isAhead: boolean
  readonly #bytes = new ByteWriter()
  #starts = new Uint32Array(64)
  #ends = new Uint32Array(64)
  /** Bytes of handles as they are now. */
  #live = 0

  /** `isAhead`: before they are written; else `write` encodes them all. */
  constructor(isAhead: boolean) {
    this.#isAhead = isAhead
  }

  /** The handle has another item, or none. */
  change(handle: number, item: Item | undefined): void {
    if (!this.#isAhead) return
    this.#reserve(handle + 1)
    this.#live -= this.#ends[handle] - this.#starts[handle]
    this.#starts[handle] = 0
    this.#ends[handle] = 0
    // Then the next `write` encodes what changes again and again, and begins anew.
    if (this.#bytes.length > 2 * this.#live + leeway) return
    const start = this.#bytes.length
    writeItem(this.#bytes, item)
    this.#place(handle, start, this.#bytes.length)
  }

  /** Of the handles below `limit` in turn. */
  write(writer: ByteWriter, limit: number, itemOf: (handle: number) => Item | undefined): void {
    this.#reserve(limit)
    const first = writer.length
    const ends = new Uint32Array(limit)
    for (let handle = 0; handle < limit;) {
      const last = this.#endOfRun(handle, limit)
      if (last === handle) {
        writeItem(writer, itemOf(handle))
        ends[handle] = writer.length - first
        handle += 1
        continue
      }
      const shift = writer.length - first - this.#starts[handle]
      writer.bytes(this.#bytes.peek().subarray(this.#starts[handle], this.#ends[last - 1]))
      for (; handle < last; handle += 1) ends[handle] = this.#ends[handle] + shift
    }
    if (this.#isAhead) this.#take(writer.peek().subarray(first), ends)
  }

  /** What `write` wrote, of the handles below `limit` in turn. */
  read(reader: ByteReader, limit: number): (Item | undefined)[] {
    const first = reader.position
    const items: (Item | undefined)[] = []
    const ends = new Uint32Array(limit)
    for (let handle = 0; handle < limit; handle += 1) {
      items.push(readItem(reader, handle))
      ends[handle] = reader.position - first
    }
    if (this.#isAhead) this.#take(reader.since(first), ends)
    return items
  }

  #reserve(handles: number): void {
    this.#starts = grown(this.#starts, handles)
    this.#ends = grown(this.#ends, handles)
  }

  #place(handle: number, start: number, end: number): void {
    this.#starts[handle] = start
    this.#ends[handle] = end
    this.#live += end - start
  }

  /** Encoded handles whose bytes follow one another; `from`: there is none. */
  #endOfRun(from: number, limit: number): number {
    let end = from
    let at = this.#starts[from]
    while (end < limit && this.#ends[end] > 0 && this.#starts[end] === at) {
      at = this.#ends[end]
      end += 1
    }
    return end
  }

  /** The bytes of all handles in turn. */
  #take(bytes: Uint8Array, ends: Uint32Array): void {
    this.#reserve(ends.length)
    this.#bytes.reset().bytes(bytes)
    this.#live = 0
    this.#starts.fill(0)
    this.#ends.fill(0)
    let start = 0
    for (const [handle, end] of ends.entries()) {
      this.#place(handle, start, end)
      start = end
    }
  }
}

function writeItem(writer: ByteWriter, item: Item | undefined): void {
  if (item === undefined) {
    writer.uint8(0)
    return
  }
  const tagged = item.crowdingTag !== undefined
  writer.uint8(flags.present | (item.hidden ? flags.hidden : 0) | (tagged ? flags.tagged : 0))
  writer.string(item.id).varint(item.revision).float64(item.firstSeenAt).float64(item.expiresAt)
  if (item.crowdingTag !== undefined) writer.string(item.crowdingTag)
  writeFields(writer, item.features)
  writeFields(writer, item.attributes)
}

/** Undefined: the handle has no item. */
function readItem(reader: ByteReader, handle: number): Item | undefined {
  const bits = reader.uint8()
  if ((bits & flags.present) === 0) return undefined
  return {
    handle,
    id: reader.string(),
    revision: reader.varint(),
    firstSeenAt: reader.float64(),
    expiresAt: reader.float64(),
    crowdingTag: (bits & flags.tagged) > 0 ? reader.string() : undefined,
    features: readFeatures(reader),
    attributes: readFields(reader),
    hidden: (bits & flags.hidden) > 0,
  }
}
