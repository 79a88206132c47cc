/**
 * Reads answers to fetches (version 11, which all brokers since 2.3 speak) and the batches of
 * records in them (format 2). kafkajs has a decoder of its own, that makes two big integers, three
 * objects of arbitrary precision and half a dozen views for every record; here a record is two
 * numbers and where it lies, and what nobody asks for is never made.
 */
import type { IHeaders } from 'kafkajs'
import compression from 'kafkajs/src/protocol/message/compression/index.js'

/** What all records of a batch have in common. */
interface BatchContext {
  readonly firstOffset: number
  readonly lastOffsetDelta: number
  readonly producerId: string
  readonly inTransaction: boolean
}

interface AbortedTransaction {
  readonly producerId: string
  readonly firstOffset: string
}

interface DecodedPartition {
  readonly partition: number
  readonly errorCode: number
  readonly abortedTransactions: readonly AbortedTransaction[]
  readonly messages: readonly KafkaRecord[]
}

/** As kafkajs checks it for errors. */
export interface DecodedFetch {
  readonly clientSideThrottleTime: number
  readonly errorCode: number
  readonly responses: readonly {
    readonly topicName: string
    readonly partitions: readonly DecodedPartition[]
  }[]
}

const format = 2
/** Of a batch before its records: what the length that it says does not count, and all. */
const lengthEnd = 12
const batchHeaderBytes = 61
const headerAt = { magic: 16, attributes: 21, lastOffsetDelta: 23, firstTime: 27, lastTime: 35 }
const producerAt = 43
const countAt = 57
const flags = { codec: 0x07, appendTime: 0x08, transaction: 0x10, control: 0x20 }
const noHeaders: IHeaders = {}

/** Undefined: there is a batch of an older format in it. Throws where a batch is damaged. */
export async function decodeFetch(payload: Buffer): Promise<DecodedFetch | undefined> {
  const reader = new WireReader(payload)
  const clientSideThrottleTime = reader.int32()
  const errorCode = reader.int16()
  // The session, of which there is none.
  reader.int32()
  const responses = []
  for (let topics = reader.int32(); topics > 0; topics -= 1) {
    const topicName = reader.string()
    const partitions: DecodedPartition[] = []
    for (let left = reader.int32(); left > 0; left -= 1) {
      const partition = await decodePartition(reader)
      if (partition === undefined) return undefined
      partitions.push(partition)
    }
    responses.push({ topicName, partitions })
  }
  return { clientSideThrottleTime, errorCode, responses }
}

async function decodePartition(reader: WireReader): Promise<DecodedPartition | undefined> {
  const partition = reader.int32()
  const errorCode = reader.int16()
  // High watermark, last stable offset, start of the log.
  reader.skip(24)
  const abortedTransactions: AbortedTransaction[] = []
  for (let left = reader.int32(); left > 0; left -= 1) {
    const producerId = reader.int64Text()
    abortedTransactions.push({ producerId, firstOffset: reader.int64Text() })
  }
  // The replica that the broker would rather have read.
  reader.skip(4)
  const batches = reader.bytes(Math.max(0, reader.int32()))
  const messages = await decodeBatches(batches)
  return messages && { partition, errorCode, abortedTransactions, messages }
}

async function decodeBatches(bytes: Buffer): Promise<KafkaRecord[] | undefined> {
  const records: KafkaRecord[] = []
  for (let at = 0; at + batchHeaderBytes <= bytes.length;) {
    if (bytes.readInt8(at + headerAt.magic) !== format) return undefined
    const end = at + lengthEnd + bytes.readInt32BE(at + lengthEnd - 4)
    // The last one may have been cut off by the bound on the answer.
    if (end > bytes.length) break
    if (end < at + batchHeaderBytes) throw damaged(at)
    await decodeBatch(bytes.subarray(at, end), records)
    at = end
  }
  return records
}

async function decodeBatch(batch: Buffer, into: KafkaRecord[]): Promise<void> {
  const attributes = batch.readInt16BE(headerAt.attributes)
  const header = new WireReader(batch)
  const firstOffset = header.int64()
  const context: BatchContext = {
    firstOffset,
    lastOffsetDelta: batch.readInt32BE(headerAt.lastOffsetDelta),
    producerId: header.moveTo(producerAt).int64Text(),
    inTransaction: (attributes & flags.transaction) > 0,
  }
  const times = {
    first: header.moveTo(headerAt.firstTime).int64(),
    last: header.moveTo(headerAt.lastTime).int64(),
    ofAppend: (attributes & flags.appendTime) > 0,
  }
  const isControl = (attributes & flags.control) > 0
  const codec = compression.lookupCodecByAttributes(attributes & flags.codec)
  const packed = batch.subarray(batchHeaderBytes)
  const bytes = codec === null ? packed : await codec.decompress(packed)
  const reader = new WireReader(bytes)
  for (let left = batch.readInt32BE(countAt); left > 0; left -= 1) {
    const end = reader.varint() + reader.at
    if (!(end <= bytes.length)) throw damaged(firstOffset)
    // Attributes of a record, which have no meaning yet.
    reader.skip(1)
    const time = times.first + reader.varint()
    const offset = firstOffset + reader.varint()
    const timestamp = times.ofAppend ? times.last : time
    into.push(new KafkaRecord({ bytes, at: reader.at, offset, timestamp, isControl, context }))
    reader.moveTo(end)
  }
}

const damaged = (at: number): Error => new Error(`the batch of records at ${at} is damaged`)

interface RecordPlace {
  /** From `at` on: key, value, headers. */
  readonly bytes: Buffer
  readonly at: number
  readonly offset: number
  /** Epoch ms. */
  readonly timestamp: number
  readonly isControl: boolean
  readonly context: BatchContext
}

/** One record. Whoever holds it holds the bytes of its batch, or of the whole answer. */
export class KafkaRecord {
  readonly offset: number
  readonly timestamp: number
  readonly isControlRecord: boolean
  readonly batchContext: BatchContext
  readonly #bytes: Buffer
  readonly #at: number
  /** Once the value has been read; until then where the record begins. */
  #headersAt: number

  constructor({ bytes, at, offset, timestamp, isControl, context }: RecordPlace) {
    this.offset = offset
    this.timestamp = timestamp
    this.isControlRecord = isControl
    this.batchContext = context
    this.#bytes = bytes
    this.#at = at
    this.#headersAt = at
  }

  get key(): Buffer | null {
    return this.#reader().field()
  }

  get value(): Buffer | null {
    const reader = this.#reader()
    reader.skipField()
    const value = reader.field()
    this.#headersAt = reader.at
    return value
  }

  /** One that is there several times has a list of values. */
  get headers(): IHeaders {
    const reader = new WireReader(this.#bytes, this.#headersAt)
    if (this.#headersAt === this.#at) {
      reader.skipField()
      reader.skipField()
    }
    let left = reader.varint()
    if (!(left > 0)) return noHeaders
    const headers: IHeaders = {}
    for (; left > 0; left -= 1) {
      const name = (reader.field() ?? Buffer.alloc(0)).toString()
      const value = reader.field() ?? undefined
      const before = Object.hasOwn(headers, name) ? headers[name] : undefined
      if (before === undefined || value === undefined) headers[name] = value
      else headers[name] = Array.isArray(before) ? [...before, value] : [before, value]
    }
    return headers
  }

  #reader(): WireReader {
    return new WireReader(this.#bytes, this.#at)
  }
}

/** Numbers are whole and below 2^53: offsets and times never come near it. */
class WireReader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  get at(): number {
    return this.#at
  }

  moveTo(at: number): this {
    this.#at = at
    return this
  }

  skip(bytes: number): void {
    this.#at += bytes
  }

  int16(): number {
    this.#at += 2
    return this.#bytes.readInt16BE(this.#at - 2)
  }

  int32(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  int64(): number {
    this.#at += 8
    const high = this.#bytes.readInt32BE(this.#at - 8)
    return high * 2 ** 32 + this.#bytes.readUInt32BE(this.#at - 4)
  }

  int64Text(): string {
    this.#at += 8
    return this.#bytes.readBigInt64BE(this.#at - 8).toString()
  }

  bytes(length: number): Buffer {
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  string(): string {
    return this.bytes(Math.max(0, this.int16())).toString()
  }

  /** Zigzag, seven bits a byte, lowest first. Not a number where the bytes end before it does. */
  varint(): number {
    let byte = this.#next()
    let coded = byte & 0x7f
    for (let scale = 0x80; byte >= 0x80; scale *= 0x80) {
      byte = this.#next()
      coded += (byte & 0x7f) * scale
    }
    return coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2
  }

  field(): Buffer | null {
    const length = this.varint()
    return length < 0 ? null : this.bytes(length)
  }

  skipField(): void {
    const length = this.varint()
    this.#at += Math.max(0, length)
  }

  #next(): number {
    this.#at += 1
    return this.#bytes[this.#at - 1]
  }
}
