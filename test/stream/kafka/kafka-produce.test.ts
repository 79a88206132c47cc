/** Requests that append, byte for byte as kafkajs writes them. */
import * as fc from 'fast-check'
import kafkajs from 'kafkajs'
import produceRequest from 'kafkajs/src/protocol/requests/produce/v7/request.js'
import { expect, test } from 'vitest'

import { crc32c } from '../../../src/stream/kafka/crc32c.ts'
import { encodeProduce, type ProduceRequest } from '../../../src/stream/kafka/kafka-produce.ts'

const identity = { producerId: '4611686018427387905', producerEpoch: 3 }
const settings = { topic: 'clicks-é', identity, timeoutMs: 10_000 }

const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ minLength: 60, maxLength: 200 }))
const bytes = fc.oneof(
  text,
  fc.uint8Array().map((of) => Buffer.from(of)),
)
const header = fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 }))
const message = fc.record(
  {
    key: fc.option(bytes),
    value: bytes,
    timestamp: fc.nat({ max: 2 ** 42 }).map(String),
    headers: fc.dictionary(fc.string({ minLength: 1 }), header, { maxKeys: 3 }),
  },
  { requiredKeys: ['key', 'value', 'timestamp'] },
)
const partition = fc.record({
  partition: fc.nat({ max: 300 }),
  firstSequence: fc.nat({ max: 2 ** 31 - 1 }),
  messages: fc.array(message, { minLength: 1, maxLength: 200, size: '-1' }),
})

const ours = (request: Pick<ProduceRequest, 'codec' | 'partitions'>): Promise<Buffer> =>
  encodeProduce({ ...settings, ...request })

async function theirs({ codec, partitions }: Pick<ProduceRequest, 'codec' | 'partitions'>) {
  const { topic, timeoutMs: timeout } = settings
  // Their batch begins at the earliest time only where times have equally many digits.
  const topicData = [{ topic, partitions }]
  const request = { ...identity, acks: -1, timeout, compression: codec, topicData }
  const { buffer } = await produceRequest(request).encode()
  return buffer
}

test('a request is what kafkajs makes of the same messages', async () => {
  const property = fc.asyncProperty(
    fc.array(partition, { minLength: 1, maxLength: 3 }),
    fc.constantFrom(kafkajs.CompressionTypes.None, kafkajs.CompressionTypes.GZIP),
    async (found, codec) => {
      const partitions = found.map((of) => ({
        ...of,
        messages: of.messages.map((one) => ({ ...one, timestamp: evenly(one.timestamp) })),
      }))
      const request = { codec, partitions }
      expect((await ours(request)).equals(await theirs(request))).toBe(true)
    },
  )
  await fc.assert(property, { numRuns: 150 })
})

/** Of 13 digits, as all times are since 2001: kafkajs orders them as texts. */
const evenly = (timestamp: string): string => String(1e12 + Number(timestamp))

test('the checksum is that of the standard, and of bytes in any number', () => {
  // RFC 3720, B.4.
  expect(crc32c(Buffer.from('123456789')) >>> 0).toBe(0xe3069283)
  expect(crc32c(Buffer.alloc(32)) >>> 0).toBe(0x8a9136aa)
  expect(crc32c(Buffer.alloc(32, 0xff)) >>> 0).toBe(0x62a8ab43)
  expect(crc32c(Buffer.alloc(0))).toBe(0)
})
