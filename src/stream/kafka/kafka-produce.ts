/**
 * Writes requests that append (produce, version 7: brokers since 2.1) and the batches of records in
 * them (format 2), straight into one buffer. kafkajs makes an encoder with a buffer of its own for
 * every record and copies each of them four times.
 */
import type { IHeaders } from 'kafkajs'
import compressionOf from 'kafkajs/src/protocol/message/compression/index.js'

import { crc32c } from './crc32c.ts'

export interface ProducedMessage {
  readonly key: string | Buffer | null
  readonly value: string | Buffer
  /** Epoch ms. */
  readonly timestamp: string
  readonly headers?: IHeaders
}

export interface ProducedPartition {
  readonly partition: number
  readonly firstSequence: number
  readonly messages: readonly ProducedMessage[]
}

export interface ProducerIdentity {
  readonly producerId: string
  readonly producerEpoch: number
}

export interface ProduceRequest {
  readonly topic: string
  readonly identity: ProducerIdentity
  readonly timeoutMs: number
  /** As Kafka numbers its codecs; 0: none. */
  readonly codec: number
  readonly partitions: readonly ProducedPartition[]
}

export const produceVersion = 7
const allInSync = -1
const format = 2
/** Of a batch: what its length counts from, what its checksum is of, its records. */
const [lengthEnd, checkedFrom, headerBytes] = [12, 21, 61]

/** Without the header that all requests have. */
export async function encodeProduce(request: ProduceRequest): Promise<Buffer> {
  const { topic, timeoutMs, partitions } = request
  const writer = new WireWriter(1024)
  // No transaction.
  writer.int16(-1).int16(allInSync).int32(timeoutMs)
  writer.int32(1).int16(Buffer.byteLength(topic)).raw(topic)
  writer.int32(partitions.length)
  for (const of of partitions) {
    writer.int32(of.partition)
    const at = writer.at
    writer.int32(0)
    await writeBatch(writer, of, request)
    writer.setInt32(at, writer.at - at - 4)
  }
  return writer.bytes
}

async function writeBatch(
  writer: WireWriter,
  { firstSequence, messages }: ProducedPartition,
  { identity, codec }: ProduceRequest,
): Promise<void> {
  const times = messages.map(({ timestamp }) => Number(timestamp))
  const firstTime = times.reduce((first, time) => Math.min(first, time), Infinity)
  const lastTime = times.reduce((last, time) => Math.max(last, time), 0)
  const begin = writer.at
  // The first offset and the leader's epoch are for the broker to say.
  writer.int64(0n).int32(0).int32(0).int8(format).int32(0)
  writer.int16(codec).int32(messages.length - 1)
  writer.int64(BigInt(firstTime)).int64(BigInt(lastTime))
  writer.int64(BigInt(identity.producerId)).int16(identity.producerEpoch)
  writer.int32(firstSequence).int32(messages.length)
  for (let i = 0; i < messages.length; i += 1) {
    writeRecord(writer, messages[i], { offset: i, time: times[i] - firstTime })
  }
  const compressor = compressionOf.lookupCodecByAttributes(codec)
  if (compressor !== null) {
    const records = Buffer.from(writer.from(begin + headerBytes))
    writer.truncate(begin + headerBytes).raw(await compressor.compress({ buffer: records }))
  }
  writer.setInt32(begin + lengthEnd - 4, writer.at - begin - lengthEnd)
  writer.setInt32(begin + checkedFrom - 4, crc32c(writer.from(begin + checkedFrom)))
}

/** Both from those of the batch's first. */
interface RecordDeltas {
  readonly offset: number
  readonly time: number
}

function writeRecord(
  writer: WireWriter,
  { key, value, headers }: ProducedMessage,
  { offset, time }: RecordDeltas,
): void {
  const all = headers === undefined ? [] : [...flat(headers)]
  let size = 1 + varintSize(time) + varintSize(offset) + fieldSize(key) + fieldSize(value)
  size += varintSize(all.length)
  for (const [name, header] of all) size += fieldSize(name) + fieldSize(header)
  // The zero: attributes, which have no meaning yet.
  writer.varint(size).int8(0).varint(time).varint(offset).field(key).field(value)
  writer.varint(all.length)
  for (const [name, header] of all) writer.field(name).field(header)
}

type Field = string | Buffer | null

/** One that is there several times has a list of values. */
function* flat(headers: IHeaders): Generator<readonly [string, Field]> {
  for (const [name, value] of Object.entries(headers)) {
    if (!Array.isArray(value)) yield [name, value ?? null]
    else for (const one of value) yield [name, one]
  }
}

const bytesOf = (field: string | Buffer): number =>
  typeof field === 'string' ? Buffer.byteLength(field) : field.length

function fieldSize(field: Field): number {
  if (field === null) return 1
  const bytes = bytesOf(field)
  return varintSize(bytes) + bytes
}

/** Of a number from 0 up: zigzag doubles it. */
function varintSize(value: number): number {
  let size = 1
  for (let rest = value; rest >= 0x40; rest /= 0x80) size += 1
  return size
}

/** Grows as it is written; big-endian, as Kafka's protocol is. */
class WireWriter {
  #bytes: Buffer
  #at = 0

  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity)
  }

  get at(): number {
    return this.#at
  }

  /** All that was written. */
  get bytes(): Buffer {
    return this.from(0)
  }

  /** A view: until the next write. */
  from(at: number): Buffer {
    return this.#bytes.subarray(at, this.#at)
  }

  truncate(at: number): this {
    this.#at = at
    return this
  }

  int8(value: number): this {
    const at = this.#take(1)
    this.#bytes[at] = value
    return this
  }

  int16(value: number): this {
    const at = this.#take(2)
    this.#bytes.writeInt16BE(value, at)
    return this
  }

  int32(value: number): this {
    const at = this.#take(4)
    return this.setInt32(at, value)
  }

  setInt32(at: number, value: number): this {
    this.#bytes.writeInt32BE(value, at)
    return this
  }

  int64(value: bigint): this {
    const at = this.#take(8)
    this.#bytes.writeBigInt64BE(value, at)
    return this
  }

  /** From 0 up, below 2^53: zigzag, seven bits a byte, lowest first. */
  varint(value: number): this {
    let rest = value * 2
    const at = this.#take(varintSize(value))
    let to = at
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      this.#bytes[to] = (rest % 0x80) | 0x80
      to += 1
    }
    this.#bytes[to] = rest
    return this
  }

  field(value: Field): this {
    // -1, which zigzag makes 1.
    if (value === null) return this.int8(1)
    return this.varint(bytesOf(value)).raw(value)
  }

  raw(value: string | Uint8Array): this {
    if (typeof value === 'string') {
      const at = this.#take(Buffer.byteLength(value))
      this.#bytes.write(value, at)
    } else {
      const at = this.#take(value.length)
      this.#bytes.set(value, at)
    }
    return this
  }

  #take(bytes: number): number {
    const at = this.#at
    this.#at += bytes
    if (this.#at > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#at, 2 * this.#bytes.length))
      this.#bytes.copy(grown, 0, 0, at)
      this.#bytes = grown
    }
    return at
  }
}
