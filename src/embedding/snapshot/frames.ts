/**
 * A sequence of checksummed frames, little-endian: u32 length | u32 CRC-32 of the payload |
 * payload. A reader takes the bytes in pieces of any size.
 */
import { crc32 } from 'node:zlib'

const headerBytes = 8
/** No writer makes a longer frame, so a longer length is damage. */
const maximumPayload = 64 * 1024 * 1024

/** Why frames cannot be read; their owner turns it into an error of its own. */
export class FrameDamage extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'FrameDamage'
  }
}

/** A frame whose payload is these parts, one after the other. */
export function frame(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const bytes = new Uint8Array(headerBytes + length)
  let at = headerBytes
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  const view = new DataView(bytes.buffer)
  view.setUint32(0, length, true)
  view.setUint32(4, crc32(bytes.subarray(headerBytes)), true)
  return bytes
}

/** The payloads, each valid until the next is asked for. Throws `FrameDamage`. */
export function* readFrames(pieces: Iterable<Uint8Array>): Generator<Uint8Array, void, undefined> {
  let rest: Uint8Array = new Uint8Array(0)
  for (const piece of pieces) {
    rest = rest.length === 0 ? piece : joined(rest, piece)
    let at = 0
    for (;;) {
      const payload = firstFrame(rest.subarray(at))
      if (payload === undefined) break
      yield payload
      at += headerBytes + payload.length
    }
    rest = rest.subarray(at)
  }
  if (rest.length > 0) throw new FrameDamage('it ends in the middle of a frame')
}

/** The payload that a run of bytes starts with, or undefined if it is not all there. */
function firstFrame(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < headerBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
  const length = view.getUint32(0, true)
  if (length > maximumPayload) throw new FrameDamage(`a frame of ${length} bytes`)
  if (bytes.length < headerBytes + length) return undefined
  const payload = bytes.subarray(headerBytes, headerBytes + length)
  if (crc32(payload) !== view.getUint32(4, true)) throw new FrameDamage('a checksum is wrong')
  return payload
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length)
  bytes.set(a)
  bytes.set(b, a.length)
  return bytes
}
