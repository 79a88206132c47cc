/**
 * The items of a catalogue as bytes. Most are what they were when the catalogue was last written,
 * so those are copied as they were written then: to encode 200,000 takes a trainer half a second,
 * in which it learns nothing. Holds as many bytes as it wrote.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { grown } from '../columns.ts'
import type { Item } from '../example.ts'
import { readFeatures, readFields, writeFields } from '../value-codec.ts'

const flags = { present: 1, hidden: 2, tagged: 4 }

/**
 * Invariant: below `#offsets.length - 1`, a handle that is not marked in `#changed` has the bytes
 * from its offset to the next.
 */
export class EncodedItems {
  #bytes: Uint8Array = new Uint8Array(0)
  #offsets = new Uint32Array(1)
  /** A byte for each handle. */
  #changed = new Uint8Array(64)

  /** The handle has another item, or none. */
  change(handle: number): void {
    this.#changed = grown(this.#changed, handle + 1)
    this.#changed[handle] = 1
  }

  /** Of the handles below `limit` in turn. */
  write(writer: ByteWriter, limit: number, itemOf: (handle: number) => Item | undefined): void {
    const start = writer.length
    const offsets = new Uint32Array(limit + 1)
    let handle = 0
    while (handle < limit) {
      const end = this.#endOfSame(handle, limit)
      const [from, to] = [this.#offsets[handle], this.#offsets[end]]
      const shift = writer.length - start - from
      if (end > handle) writer.bytes(this.#bytes.subarray(from, to))
      for (; handle < end; handle += 1) offsets[handle] = this.#offsets[handle] + shift
      if (handle === limit) break
      offsets[handle] = writer.length - start
      writeItem(writer, itemOf(handle))
      handle += 1
    }
    offsets[limit] = writer.length - start
    this.#bytes = writer.peek().slice(start)
    this.#offsets = offsets
    this.#changed.fill(0)
  }

  /** Of a run of handles that are as they were written, the end; `from`: there is none. */
  #endOfSame(from: number, limit: number): number {
    const known = Math.min(limit, this.#offsets.length - 1)
    let end = from
    while (end < known && this.#changed[end] === 0) end += 1
    return end
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
export function readItem(reader: ByteReader, handle: number): Item | undefined {
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
