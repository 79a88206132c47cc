/**
 * What processes do with their topic, as it is configured: who is let in, partitions that are added
 * while they run, values that are no events, lag that brokers and metrics are told; and that what a
 * trainer learned from it is what an embedded one learns from the same turns of the partitions.
 */
import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { loadConfig, parseOverride } from '../../src/app/config/config.ts'
import { Shop } from '../../src/app/demo/shop.ts'
import { dataPaths, trainerModel } from '../../src/app/options.ts'
import { openKafkaLog } from '../../src/stream/kafka/kafka-log.ts'
import { replayEmbedded, savedOutcome } from '../support/embedded-replay.ts'
import { Fleet, type Member } from '../support/fleet.ts'
import { brokerUser, KafkaServer, makeTopic, withAdmin } from '../support/kafka-server.ts'
import { RedisServer } from '../support/redis-server.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { smallShop } from './small-service.ts'

const limitMs = 240_000
const patience = { timeout: 60_000, interval: 100 }

let broker: KafkaServer
let redis: RedisServer

beforeAll(async () => {
  broker = await KafkaServer.start({ secure: true })
  redis = await RedisServer.start({ appendOnly: true })
}, 120_000)

afterAll(async () => {
  await redis.stop()
  await broker.stop()
})

const clicksOf = (shop: Shop, n: number): object[] =>
  Array.from({ length: n }, () => shop.next()).flatMap((event) =>
    event.kind === 'interaction'
      ? [{ kind: 'interaction', userId: event.userId, itemId: event.itemId, type: 'click' }]
      : [],
  )

const valueOf = async ({ client }: Member, sample: string): Promise<number | undefined> =>
  (await client.metrics()).get(sample)

const eventsOf = (member: Member, subsystem: string): Promise<number | undefined> =>
  valueOf(member, `freshet_${subsystem}_events_total`)

const secretsIn = (directory: string) => {
  const [password, authority] = [join(directory, 'password'), join(directory, 'ca.pem')]
  writeFileSync(password, `${brokerUser.password}\n`)
  writeFileSync(authority, broker.certificate)
  return { password, authority }
}

const loginBy = (mechanism: string): readonly string[] => [
  `process.kafka.sasl.mechanism=${mechanism}`,
  `process.kafka.sasl.username=${brokerUser.username}`,
]

interface Way {
  readonly at: string
  readonly set: readonly string[]
}

function waysWith(directory: string): Readonly<Record<string, Way>> {
  const { password, authority } = secretsIn(directory)
  const secret = `process.kafka.sasl.passwordFile=${password}`
  return {
    'SASL, a password from a file': {
      at: broker.saslAddress,
      set: [...loginBy('scram-sha-512'), secret],
    },
    'SASL, one from a variable': { at: broker.saslAddress, set: loginBy('plain') },
    TLS: {
      at: broker.tlsAddress,
      set: ['process.kafka.tls.enabled=true', `process.kafka.tls.caFile=${authority}`],
    },
  }
}

test.each([
  ['SASL, a password from a file', 'lz4'],
  ['SASL, one from a variable', 'snappy'],
  ['TLS', 'zstd'],
])(
  'a process reads and writes its topic: %s, %s',
  async (name, packing) => {
    using directory = temporaryDirectory()
    const { at, set } = waysWith(directory.path)[name]
    if (name.includes('variable')) env['FRESHET_KAFKA_SASL_PASSWORD'] = brokerUser.password
    const topic = await makeTopic(broker.address, 2)
    const servers = { broker: at, topic, redis: `redis://127.0.0.1:${redis.port}` }
    const more = [...set, `process.kafka.compression=${packing}`, `process.redis.tag=${topic}`]
    try {
      await using fleet = new Fleet(servers, more)
      const member = await fleet.start('all', 'ingest,trainer,serving,jobs')
      const clicks = clicksOf(new Shop({ seed: 3, users: 9, items: 9 }), 50)
      await member.client.sendEvents(clicks)
      await expect.poll(() => eventsOf(member, 'trainer'), patience).toBe(clicks.length)
      await expect.poll(() => eventsOf(member, 'facts'), patience).toBe(clicks.length)
      expect(await member.end('SIGTERM')).toBe(0)
    } finally {
      delete env['FRESHET_KAFKA_SASL_PASSWORD']
    }
  },
  limitMs,
)

test(
  'partitions come, others write nonsense; all is told; and an embedded replay learns the same',
  async () => {
    const topic = await makeTopic(broker.address, 2)
    const letters = await makeTopic(broker.address, 1)
    const servers = { broker: broker.address, topic, redis: `redis://127.0.0.1:${redis.port}` }
    const more = [
      `process.kafka.deadLettersTopic=${letters}`,
      'process.kafka.commitMs=200',
      'process.kafka.metadataMaxAgeMs=500',
      `process.redis.tag=${topic}`,
      // The journal stays whole: the only checkpoint is the last.
      'process.checkpoints.intervalMs=0',
    ]
    await using fleet = new Fleet(servers, more)
    const door = await fleet.start('ingest', 'ingest')
    const trainer = await fleet.start('trainer', 'trainer')
    const desks = [await fleet.start('one', 'serving'), await fleet.start('two', 'serving,jobs')]
    const shop = new Shop({ seed: 2, users: 40, items: 60 })
    let sent = 0
    const send = async (n: number): Promise<void> => {
      const clicks = clicksOf(shop, n)
      await door.client.sendEvents(clicks)
      sent += clicks.length
    }
    const learned = async (): Promise<void> => {
      await expect.poll(() => eventsOf(trainer, 'trainer'), patience).toBe(sent)
      for (const desk of desks) {
        await expect.poll(() => eventsOf(desk, 'facts'), patience).toBe(sent)
      }
    }
    await send(400)
    await learned()

    // Processes notice added partitions by themselves, and write to them.
    await withAdmin(broker.address, async (admin, kafka) => {
      await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
      const producer = kafka.producer({ allowAutoTopicCreation: false })
      await producer.connect()
      await producer.send({ topic, messages: [{ key: 'x', value: '{"userId": 7}' }] })
      await producer.disconnect()
    })
    await expect
      .poll(async () => {
        await send(50)
        return (await valueOf(door, 'freshet_log_brokers_up{role="ingest"}')) === 1
          ? valueOf(desks[0], 'freshet_log_end_offset{role="serving",partition="3"}')
          : 0
      }, patience)
      .toBeGreaterThan(0)
    await learned()

    // What is told of it.
    await expect.poll(() => told(trainer, 'dead_letters_total', 'trainer'), patience).toBe(1)
    expect(await told(trainer, 'lost_letters_total', 'trainer')).toBe(0)
    expect(await told(trainer, 'brokers_up', 'trainer')).toBe(1)
    for (const member of [trainer, ...desks]) {
      const role = member === trainer ? 'trainer' : 'serving'
      for (const partition of [0, 1, 2, 3]) {
        const labels = `{role="${role}",partition="${partition}"}`
        const lag = `freshet_log_lag_messages${labels}`
        await expect.poll(() => valueOf(member, lag), patience).toBe(0)
        const watermark = `freshet_log_watermark_timestamp_seconds${labels}`
        expect(await valueOf(member, watermark)).toBeGreaterThan(1.7e9)
      }
    }
    const reader = await openKafkaLog({ brokers: [broker.address], topic })
    const end = await reader.end()
    await expect.poll(() => committedTo(`freshet-${topic}-trainer`, topic), patience).toEqual(end)

    // The same turns, embedded.
    using directory = temporaryDirectory()
    const journal = join(directory.path, 'copy')
    cpSync(dataPaths(fleet.trainerDirectory).journal, journal, { recursive: true })
    for (const member of [...desks, door, trainer]) expect(await member.end('SIGTERM')).toBe(0)
    const { config } = loadConfig({ environment: {}, overrides: smallShop.map(parseOverride) })
    const parts = {
      model: trainerModel(config.model),
      process: { threads: 1, kernels: 'wasm', deltaIntervalMs: 100 },
      topic: reader,
    } as const
    const saved = await savedOutcome(dataPaths(fleet.trainerDirectory).checkpoints, parts)
    expect(saved.events).toBe(sent)
    const replayed = await replayEmbedded({
      ...parts,
      directory: directory.path,
      journal: join(journal, 'batches'),
    })
    expect(replayed).toEqual(saved)
    await reader.close()
  },
  limitMs,
)

const told = (member: Member, name: string, role: string): Promise<number | undefined> =>
  valueOf(member, `freshet_log_${name}{role="${role}"}`)

/** As a position. */
async function committedTo(groupId: string, topic: string): Promise<Record<number, string>> {
  const [found] = await withAdmin(broker.address, (admin) =>
    admin.fetchOffsets({ groupId, topics: [topic] }),
  )
  return Object.fromEntries(
    found.partitions.map(({ partition, offset }) => [partition, `${partition}:${offset}`]),
  )
}
