/** The Kafka log against a real broker: the contract, and what is special to it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import kafkajs from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import type { Position } from '../../../src/stream/event-log.ts'
import type { Event } from '../../../src/stream/event.ts'
import { KafkaConnection, type KafkaMessage } from '../../../src/stream/kafka/kafka-connection.ts'
import { KafkaCommits, KafkaEnds } from '../../../src/stream/kafka/kafka-ends.ts'
import {
  type KafkaLog,
  type KafkaLogOptions,
  openKafkaLog,
} from '../../../src/stream/kafka/kafka-log.ts'
import { atOnce, type LogUnderTest, readAll, testEventLog } from '../../contract/event-log.ts'
import { interaction, interactions } from '../../support/events.ts'
import { anyBroker, makeTopic, withAdmin } from '../../support/kafka-server.ts'
import { until } from '../../support/redis-server.ts'

/** A broker makes the topic of its groups when it is first asked for one. */
const patience = { timeout: 60_000, interval: 50 }

const readable = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

// A broker on a busy machine may stand still for long.
vi.setConfig({ testTimeout: 120_000 })

let broker: Awaited<ReturnType<typeof anyBroker>>

beforeAll(async () => {
  broker = await anyBroker()
}, 180_000)

afterAll(async () => {
  await broker[Symbol.asyncDispose]()
})

const optionsOf = (topic: string, more: Partial<KafkaLogOptions> = {}): KafkaLogOptions => ({
  brokers: [broker.address],
  topic,
  ...more,
})

class KafkaUnderTest implements LogUnderTest {
  readonly #options: KafkaLogOptions
  log: KafkaLog

  private constructor(options: KafkaLogOptions, log: KafkaLog) {
    this.#options = options
    this.log = log
  }

  static async open(options: KafkaLogOptions): Promise<KafkaUnderTest> {
    return new KafkaUnderTest(options, await openKafkaLog(options))
  }

  get reader(): KafkaLog {
    return this.log
  }

  async reopen(): Promise<KafkaLog> {
    await this.log.close()
    this.log = await openKafkaLog(this.#options)
    return this.log
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.log.close()
  }
}

describe('a topic of one partition', () => {
  testEventLog(async () => KafkaUnderTest.open(optionsOf(await makeTopic(broker.address))))
})

describe('four partitions', () => {
  test('all events come back, each under the offset that its append gave', async () => {
    await using subject = await KafkaUnderTest.open(optionsOf(await makeTopic(broker.address, 4)))
    const { log } = subject
    const written = interactions(200)
    const given = await log.append(written)
    expect(new Set(given.map((offset) => offset.split(':')[0])).size).toBe(4)
    const byOffset = new Map(given.map((offset, i) => [offset, written[i]]))
    for (const step of [1, 13, 1_000]) {
      const { events, offsets, next } = await readAll(log, await log.start(), step)
      expect(new Map(offsets.map((offset, i) => [offset, events[i]]))).toEqual(byOffset)
      expect(next).toEqual(await log.end())
    }
  })

  test('the events of a user stay in order', async () => {
    await using subject = await KafkaUnderTest.open(optionsOf(await makeTopic(broker.address, 4)))
    const { log } = subject
    const written = interactions(150)
    for (let i = 0; i < 150; i += 10) await log.append(written.slice(i, i + 10))
    const { events } = await readAll(log, await log.start(), 7)
    for (const user of ['user-0', 'user-3', 'user-6']) {
      const isTheirs = (event: Event) => 'userId' in event && event.userId === user
      expect(events.filter(isTheirs)).toEqual(written.filter(isTheirs))
    }
  })

  test('a read takes from all partitions in like shares', async () => {
    await using subject = await KafkaUnderTest.open(optionsOf(await makeTopic(broker.address, 4)))
    const { log } = subject
    await log.append(
      Array.from({ length: 400 }, (_, i) => interaction({ userId: `u-${i}`, timestamp: i })),
    )
    const at = { ...(await log.start()) }
    await log.read(at, { ...atOnce(4), waitMs: 1_000 })
    const batches = await log.read(at, atOnce(80))
    expect(batches.map(({ events }) => events.length)).toEqual([20, 20, 20, 20])
    for (const { partition, next } of batches) at[partition] = next
    expect((await readAll(log, at)).events).toHaveLength(320)
  })

  test('a reader may ask for some partitions, and have no others', async () => {
    const topic = await makeTopic(broker.address, 4)
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    await subject.log.append(interactions(100))
    const start = await subject.log.start()
    const [batch, ...others] = await subject.log.read(start, { ...atOnce(9), partitions: [2] })
    expect(batch.partition).toBe(2)
    expect(others).toEqual([])
    await using some = await KafkaUnderTest.open(optionsOf(topic, { partitions: [1, 3] }))
    const { next } = await readAll(some.log, await some.log.start())
    expect(Object.keys(next)).toEqual(['1', '3'])
    expect(next).toEqual(await some.log.end())
  })

  test('partitions that are added are read from their start', async () => {
    const topic = await makeTopic(broker.address, 2)
    await using subject = await KafkaUnderTest.open(optionsOf(topic, { metadataMaxAgeMs: 100 }))
    const { log } = subject
    await log.append(interactions(20))
    const { next } = await readAll(log, await log.start())
    await withAdmin(broker.address, (admin) =>
      admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] }),
    )
    await until('five partitions', async () => {
      await log.read(next, { ...atOnce(1), waitMs: 10 })
      return log.partitions.length === 5
    })
    const added = Array.from({ length: 50 }, (_, i) => interaction({ userId: `new-${i}` }))
    const offsets = await log.append(added)
    expect(new Set(offsets.map((offset) => offset.split(':')[0])).size).toBe(5)
    expect((await readAll(log, next)).events).toHaveLength(50)
  })
})

const send = (topic: string, messages: kafkajs.Message[], more: object = {}): Promise<unknown> =>
  withAdmin(broker.address, async (_, kafka) => {
    const createPartitioner = kafkajs.Partitioners.DefaultPartitioner
    const producer = kafka.producer({ createPartitioner })
    await producer.connect()
    await producer.send({ topic, messages, ...more })
    await producer.disconnect()
  })

const wire = (itemId: string) => ({ userId: 'u', itemId, type: 'click' })
const itemIds = (events: readonly Event[]) =>
  events.map((event) => ('itemId' in event ? event.itemId : ''))

describe('messages of others', () => {
  test('one event, an array, or a line each; read in any steps and from any of them', async () => {
    const topic = await makeTopic(broker.address)
    await send(topic, [
      { value: JSON.stringify(wire('a')) },
      { value: JSON.stringify([wire('b'), wire('c'), wire('d')]) },
      { value: `${JSON.stringify(wire('e'))}\n\n${JSON.stringify(wire('f'))}\n` },
    ])
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    for (const step of [1, 2, 100]) {
      const { events, offsets } = await readAll(subject.log, await subject.log.start(), step)
      expect(itemIds(events)).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
      expect(offsets).toEqual(['0:0', '0:1', '0:1.1', '0:1.2', '0:2', '0:2.1'])
    }
    const { events } = await readAll(subject.log, { 0: '0:1.2' })
    expect(itemIds(events)).toEqual(['d', 'e', 'f'])
  })

  test('the time of a message is when its events were accepted', async () => {
    const topic = await makeTopic(broker.address)
    await send(topic, [
      { value: JSON.stringify(wire('a')), timestamp: '5000' },
      { value: JSON.stringify({ ...wire('late'), timestamp: 9_000 }), timestamp: '7000' },
      { value: JSON.stringify({ ...wire('future'), timestamp: 500_000 }), timestamp: '8000' },
    ])
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    const { events } = await readAll(subject.log, await subject.log.start())
    expect(events.map(({ timestamp, acceptedAt }) => [timestamp, acceptedAt])).toEqual([
      [5_000, 5_000],
      [9_000, 7_000],
    ])
    expect(await subject.log.at(6_000)).toEqual({ 0: '0:1' })
    expect(await subject.log.at(60_000)).toEqual(await subject.log.end())
  })

  test('what was aborted is not read, and markers are passed over', async () => {
    const topic = await makeTopic(broker.address)
    await withAdmin(broker.address, async (_, kafka) => {
      const producer = kafka.producer({ transactionalId: topic, idempotent: true })
      await producer.connect()
      for (const [itemId, verb] of [
        ['kept', 'commit'],
        ['gone', 'abort'],
        ['last', 'commit'],
      ] as const) {
        const transaction = await producer.transaction()
        await transaction.send({ topic, messages: [{ value: JSON.stringify(wire(itemId)) }] })
        await transaction[verb]()
      }
      await producer.disconnect()
    })
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    for (const step of [1, 10]) {
      const { events, next } = await readAll(subject.log, await subject.log.start(), step)
      expect(itemIds(events)).toEqual(['kept', 'last'])
      expect(next).toEqual(await subject.log.end())
    }
  })
})

describe('poison', () => {
  const poisoned: kafkajs.Message[] = [
    { value: JSON.stringify(wire('a')) },
    { key: 'k', value: 'no json' },
    { value: Buffer.from([0xff, 0xfe]) },
    { value: JSON.stringify([wire('b'), { userId: 'u' }, wire('c')]) },
    { value: null },
    { value: JSON.stringify(wire('d')) },
    { value: '' },
  ]

  test('goes to a topic with its reason and place, and the stream goes on', async () => {
    const [topic, letters] = [await makeTopic(broker.address), await makeTopic(broker.address, 2)]
    await send(topic, poisoned)
    await using subject = await KafkaUnderTest.open(
      optionsOf(topic, { deadLetters: { topic: letters } }),
    )
    const { log } = subject
    for (const step of [1, 100]) {
      const { events, next } = await readAll(log, await log.start(), step)
      expect(itemIds(events)).toEqual(['a', 'b', 'c', 'd'])
      expect(next).toEqual(await log.end())
    }
    const found = await messagesOf(letters, 2)
    const told = found.map(({ headers }) => [
      String(headers?.['freshet-offset']),
      String(headers?.['freshet-path']),
      String(headers?.['freshet-reason']),
    ])
    expect(told.toSorted(([a = ''], [b = '']) => a.localeCompare(b))).toEqual([
      ['0:1', 'message', 'the message is not JSON'],
      ['0:2', 'message', 'the message is not UTF-8'],
      ['0:3.1', 'itemId', 'expected a string'],
      ['0:4', 'message', 'the message is empty'],
      ['0:6', 'message', 'the message is empty'],
    ])
    const first = found.find(({ key }) => String(key) === 'k')
    expect(String(first?.value)).toBe('no json')
  })

  test('or to a file, a line each', async () => {
    const topic = await makeTopic(broker.address)
    await send(topic, poisoned)
    const directory = mkdtempSync(join(tmpdir(), 'freshet-letters-'))
    const file = join(directory, 'dead.ndjson')
    await using subject = await KafkaUnderTest.open(optionsOf(topic, { deadLetters: { file } }))
    await readAll(subject.log, await subject.log.start(), 2)
    const lines = readFileSync(file, 'utf8').trim().split('\n')
    const letters: { offset: string; value: string }[] = lines.map((line) => JSON.parse(line))
    expect(letters.map(({ offset }) => offset)).toEqual(['1', '2', '3', '4', '6'])
    expect(Buffer.from(letters[0].value, 'base64').toString()).toBe('no json')
    rmSync(directory, { recursive: true })
  })

  test('what can be delivered nowhere is counted and told, and the stream goes on', async () => {
    const topic = await makeTopic(broker.address)
    await send(topic, poisoned)
    const file = join(tmpdir(), 'no such folder', 'dead.ndjson')
    const told: string[] = []
    const report = ({ code, message }: { code: string; message: string }) =>
      told.push(`${code}: ${message}`)
    const options = optionsOf(topic, { deadLetters: { file }, report })
    await using subject = await KafkaUnderTest.open(options)
    const { events } = await readAll(subject.log, await subject.log.start())
    expect(itemIds(events)).toEqual(['a', 'b', 'c', 'd'])
    expect(subject.log.reading).toMatchObject({ deadLetters: 5, lostLetters: 5 })
    expect(told).toHaveLength(1)
    expect(told[0]).toMatch(/^deadLettersLost: 5 dead letters \(0:1, 0:2, 0:3.*, 0:6\) were lost/)
  })

  test('a long run of it is gone through', async () => {
    const topic = await makeTopic(broker.address)
    await send(
      topic,
      Array.from({ length: 3_000 }, () => ({ value: '{' })),
    )
    await send(topic, [{ value: JSON.stringify(wire('after')) }])
    await using subject = await KafkaUnderTest.open(optionsOf(topic, { fetchBytes: 2_000 }))
    const events: Event[] = []
    const at: Record<number, string> = {}
    for (;;) {
      const batches = await subject.log.read(at, atOnce(1_000))
      if (batches.length === 0) break
      for (const batch of batches) {
        events.push(...batch.events)
        at[batch.partition] = batch.next
      }
    }
    expect(itemIds(events)).toEqual(['after'])
    expect(subject.log.reading.deadLetters).toBe(3_000)
  })
})

/** All messages of a topic, with their headers. */
async function messagesOf(topic: string, partitions: number): Promise<KafkaMessage[]> {
  const connection = new KafkaConnection(optionsOf(topic))
  const { leaders } = await connection.metadata()
  const places = Array.from({ length: partitions }, (_, partition) => ({ partition, offset: 0 }))
  const limits = { waitMs: 0, maxBytes: 1 << 20 }
  const fetched = await connection.fetch(leaders.get(0) ?? 0, places, limits)
  connection.close()
  return fetched.flatMap(({ messages }) => messages)
}

describe('around the stream', () => {
  test.each(readable)('batches compressed with %s are read', async (compression) => {
    const topic = await makeTopic(broker.address, 2)
    await using subject = await KafkaUnderTest.open(optionsOf(topic, { compression }))
    await subject.log.append(interactions(500))
    expect((await readAll(subject.log, await subject.log.start())).events).toHaveLength(500)
  })

  test.each(readable.slice(1))('batches that the broker compressed with %s', async (type) => {
    const topic = await makeTopic(broker.address, 1, { 'compression.type': type })
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    await subject.log.append(interactions(500))
    expect((await readAll(subject.log, {})).events).toEqual(interactions(500))
  })

  test('members of a group share the partitions, and take over from each other', async () => {
    const topic = await makeTopic(broker.address, 4)
    const partitions = { groupId: `members-${topic}`, sessionTimeoutMs: 2_000 }
    await using first = await KafkaUnderTest.open(optionsOf(topic, { partitions }))
    await expect.poll(() => first.log.partitions.length, patience).toBe(4)
    await first.log.append(interactions(100))
    expect((await readAll(first.log, {})).events).toHaveLength(100)
    {
      await using second = await KafkaUnderTest.open(optionsOf(topic, { partitions }))
      const each = () => [first.log.partitions.length, second.log.partitions.length]
      await expect.poll(each, patience).toEqual([2, 2])
      const both = [await readAll(first.log, {}), await readAll(second.log, {})]
      expect(both.flatMap(({ events }) => events)).toHaveLength(100)
    }
    await expect.poll(() => first.log.partitions.length, patience).toBe(4)
  }, 180_000)

  test('lag and watermark are told by partition, and positions to the broker', async () => {
    const topic = await makeTopic(broker.address, 2)
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    const { log } = subject
    await log.append(interactions(100))
    const ends = new KafkaEnds(log)
    const start = await log.start()
    expect(ends.lag(start)).toEqual([])
    await ends.start()
    const lagAt = (position: Position) => ends.lag(position).reduce((sum, { lag }) => sum + lag, 0)
    await expect.poll(() => lagAt(start), patience).toBe(100)
    expect(log.reading.watermarks).toEqual({})
    const { next } = await readAll(log, start)
    expect(ends.lag(next).map(({ lag }) => lag)).toEqual([0, 0])
    expect(log.reading).toMatchObject({ isUp: true, events: 100, failures: 0 })
    const { watermarks } = log.reading
    expect(Object.keys(watermarks)).toEqual(['0', '1'])
    const { acceptedAt } = interactions(100)[99]
    expect(Math.max(...Object.values(watermarks))).toBe(acceptedAt)
    const groupId = `watch-${topic}`
    const commits = new KafkaCommits({ log, groupId, intervalMs: 10, position: () => next })
    await commits.start()
    const committed = async () => {
      const [found] = await withAdmin(broker.address, (admin) =>
        admin.fetchOffsets({ groupId, topics: [topic] }),
      )
      return Object.fromEntries(
        found.partitions.map(({ partition, offset }) => [partition, `${partition}:${offset}`]),
      )
    }
    await expect.poll(committed, patience).toEqual(next)
    await commits.stop()
    await ends.stop()
  })

  test('an offset that is no longer kept is an error', async () => {
    const topic = await makeTopic(broker.address)
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    await subject.log.append(interactions(20))
    await withAdmin(broker.address, async (admin) => {
      // It knows a topic only when it has been asked for it.
      await admin.fetchTopicOffsets(topic)
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '12' }] })
    })
    const reading = subject.log.read({ 0: '0:3' }, atOnce(10))
    await expect(reading).rejects.toMatchObject({ code: 'LOG_OFFSET_EXPIRED' })
    expect(await subject.log.start()).toEqual({ 0: '0:12' })
    expect((await readAll(subject.log, {})).events).toHaveLength(8)
  })

  test('a topic that is not there, an event that is too large', async () => {
    const nowhere = openKafkaLog(optionsOf('no-such-topic', { giveUpMs: 500 }))
    await expect(nowhere).rejects.toMatchObject({ code: 'LOG_TOPIC_UNKNOWN' })
    await using subject = await KafkaUnderTest.open(optionsOf(await makeTopic(broker.address)))
    const attributes = { text: 'x'.repeat(800_000) }
    const large: Event = { ...item, attributes }
    const refused = subject.log.append([interaction(), large])
    await expect(refused).rejects.toMatchObject({ code: 'LOG_APPEND_TOO_LARGE' })
    expect((await readAll(subject.log, {})).events).toEqual([])
  })

  test('what does not fit into one request goes in several, in order', async () => {
    const topic = await makeTopic(broker.address, 2)
    await using subject = await KafkaUnderTest.open(optionsOf(topic))
    const attributes = { texts: Array.from({ length: 12 }, () => 'x'.repeat(8_000)) }
    const written: Event[] = Array.from({ length: 30 }, (_, i) => ({
      ...item,
      itemId: `item-${i % 3}`,
      timestamp: i,
      attributes,
    }))
    const offsets = await subject.log.append(written)
    const read = await readAll(subject.log, {})
    const byOffset = new Map(read.offsets.map((offset, i) => [offset, read.events[i]]))
    expect(offsets.map((offset) => byOffset.get(offset))).toEqual(written)
  })

  test('no process warning comes of it', async () => {
    const warnings: Error[] = []
    const note = (warning: Error) => warnings.push(warning)
    process.on('warning', note)
    await using subject = await KafkaUnderTest.open(optionsOf(await makeTopic(broker.address)))
    await subject.log.append(interactions(10))
    await readAll(subject.log, {})
    process.off('warning', note)
    expect(warnings.filter(({ name }) => name === 'TimeoutNegativeWarning')).toEqual([])
  })
})

const item = {
  kind: 'item',
  itemId: 'i',
  mode: 'replace',
  timestamp: 1_000,
  acceptedAt: 1_000,
} as const
