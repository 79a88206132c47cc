/** Answers to fetches, as kafkajs' encoder writes their batches, and as its decoder reads them. */
import { createRequire } from 'node:module'

import * as fc from 'fast-check'
import kafkajs from 'kafkajs'
import { expect, test } from 'vitest'

import { decodeFetch, type KafkaRecord } from '../../../src/stream/kafka/kafka-records.ts'

interface Encoder {
  readonly buffer: Buffer
  writeInt16(value: number): Encoder
  writeInt32(value: number): Encoder
  writeInt64(value: number): Encoder
  writeString(value: string): Encoder
  writeBuffer(value: Buffer): Encoder
}

interface PlainRecord {
  readonly offsetDelta: number
  readonly timestampDelta: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | readonly Buffer[]>>
}

interface Theirs {
  readonly responses: readonly {
    readonly topicName: string
    readonly partitions: readonly {
      readonly partition: number
      readonly errorCode: number
      readonly abortedTransactions: readonly unknown[]
      readonly messages: readonly Contents[]
    }[]
  }[]
}

interface Contents extends Pick<KafkaRecord, 'key' | 'value' | 'headers'> {
  readonly offset: string | number
  readonly timestamp: string | number
}

interface Internals {
  readonly Encoder: new () => Encoder
  readonly Record: (of: PlainRecord) => Encoder
  readonly RecordBatch: (of: object) => Promise<Encoder>
  readonly decode: (payload: Buffer) => Promise<Theirs>
}

const load = createRequire(import.meta.url)
const at = (path: string): string => `kafkajs/src/protocol/${path}.js`
const internals: Internals = {
  Encoder: load(at('encoder')),
  Record: load(at('recordBatch/record/v0/index')),
  RecordBatch: load(at('recordBatch/v0/index')).RecordBatch,
  decode: load(at('requests/fetch/v11/response')).decode,
}

const firstOffset = 2 ** 40
const firstTimestamp = 1_700_000_000_000

const batchOf = async (records: readonly PlainRecord[], compression = 0): Promise<Buffer> => {
  const encoded = records.map((record) => internals.Record(record))
  const { buffer } = await internals.RecordBatch({
    firstOffset,
    firstTimestamp,
    compression,
    records: encoded,
    producerId: 77,
    lastOffsetDelta: records.length - 1,
    transactional: true,
  })
  return buffer
}

/** Of one topic and one partition, with an aborted transaction. */
function answerWith(batches: Buffer): Buffer {
  const { Encoder } = internals
  const head = new Encoder().writeInt32(5).writeInt16(0).writeInt32(0)
  const topic = head.writeInt32(1).writeString('events').writeInt32(1)
  const partition = topic.writeInt32(3).writeInt16(0).writeInt64(9).writeInt64(9).writeInt64(1)
  const aborted = partition.writeInt32(1).writeInt64(77).writeInt64(12).writeInt32(-1)
  return aborted.writeInt32(batches.length).writeBuffer(batches).buffer
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))
const anyRecord = fc.record({
  timestampDelta: fc.oneof(fc.integer({ min: -1_000, max: 1_000 }), fc.maxSafeNat()),
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.dictionary(
    // kafkajs gives a header with the name of something every object has that as a first value.
    fc.string().filter((name) => !Object.hasOwn(Object.prototype, name)),
    fc.oneof(bytes, fc.array(bytes, { minLength: 2, maxLength: 3 })),
    { maxKeys: 3 },
  ),
})

const numbered = (records: readonly Omit<PlainRecord, 'offsetDelta'>[]): PlainRecord[] =>
  records.map((record, offsetDelta) => ({ ...record, offsetDelta }))

test('what kafkajs writes is read as kafkajs reads it', async () => {
  const batches = fc.array(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), { maxLength: 4 })
  const gzip = fc.boolean()
  await fc.assert(
    fc.asyncProperty(batches, gzip, async (given, isPacked) => {
      const compression = isPacked ? kafkajs.CompressionTypes.GZIP : 0
      const encoded = await Promise.all(
        given.map((records) => batchOf(numbered(records), compression)),
      )
      const payload = answerWith(Buffer.concat(encoded))
      const ours = await decodeFetch(payload)
      const [theirs] = (await internals.decode(payload)).responses
      expect(ours?.clientSideThrottleTime).toBe(5)
      expect(ours?.responses.map(({ topicName }) => topicName)).toEqual([theirs.topicName])
      const [mine] = ours?.responses[0].partitions ?? []
      const [other] = theirs.partitions
      expect([mine.partition, mine.errorCode]).toEqual([other.partition, other.errorCode])
      expect(mine.abortedTransactions).toEqual(other.abortedTransactions)
      expect(mine.messages.map((message) => contentsOf(message))).toEqual(
        other.messages.map((message) => contentsOf(message)),
      )
    }),
    { numRuns: 200 },
  )
})

const contentsOf = ({ offset, timestamp, key, value, headers }: Contents) => ({
  offset: Number(offset),
  timestamp: Number(timestamp),
  key,
  value,
  headers,
})

const record: PlainRecord = {
  offsetDelta: 0,
  timestampDelta: 0,
  key: null,
  value: Buffer.from('{}'),
  headers: {},
}

test('a batch that was cut off is left for the next fetch', async () => {
  const batch = await batchOf([record])
  for (const kept of [1, 60, 61, batch.length - 1]) {
    const answer = await decodeFetch(answerWith(Buffer.concat([batch, batch.subarray(0, kept)])))
    expect(answer?.responses[0].partitions[0].messages).toHaveLength(1)
  }
})

test('a batch that is damaged is an error, not a shorter batch', async () => {
  const batch = await batchOf([record, { ...record, offsetDelta: 1 }])
  const recordsAt = 61
  const longer = Buffer.from(batch)
  longer[recordsAt] = 0x7e
  const endless = Buffer.from(batch)
  endless.fill(0xff, recordsAt)
  const tooMany = Buffer.from(batch)
  tooMany.writeInt32BE(1_000, recordsAt - 4)
  const negative = Buffer.from(batch)
  negative.writeInt32BE(-12, 8)
  for (const bad of [longer, endless, tooMany, negative]) {
    await expect(decodeFetch(answerWith(bad))).rejects.toThrow('is damaged')
  }
})

test('batches of older formats are for kafkajs', async () => {
  const batch = Buffer.from(await batchOf([record]))
  batch[16] = 1
  expect(await decodeFetch(answerWith(batch))).toBeUndefined()
})
