/** The command line on a topic: replay and import. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'

import { parseKafkaUrl } from '../../../src/app/recordings/kafka-source.ts'
import type { Event } from '../../../src/stream/event.ts'
import { openFileLogReader } from '../../../src/stream/files/segment-reader.ts'
import { openKafkaLog } from '../../../src/stream/kafka/kafka-log.ts'
import { readAll } from '../../contract/event-log.ts'
import { run } from '../../support/cli.ts'
import { interaction } from '../../support/events.ts'
import { anyBroker, makeTopic } from '../../support/kafka-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const limitMs = 120_000
const entry = fileURLToPath(new URL('../../../src/app/cli.ts', import.meta.url))
const startedAt = Date.now()
const begin = 1_500_000_000_000
let broker: Awaited<ReturnType<typeof anyBroker>>
let topic: string

const written: Event[] = Array.from({ length: 900 }, (_, i) =>
  interaction({
    userId: `u-${i % 40}`,
    itemId: `i-${(i * 7) % 60}`,
    timestamp: begin + i * 1_000,
    acceptedAt: begin + i * 1_000,
  }),
)

beforeAll(async () => {
  broker = await anyBroker()
  topic = await makeTopic(broker.address, 4)
  const log = await openKafkaLog({ brokers: [broker.address], topic })
  await log.append(written)
  await log.close()
}, 180_000)

afterAll(async () => {
  await broker[Symbol.asyncDispose]()
})

const replayed = z.object({
  events: z.number(),
  stateDigest: z.string(),
  progressive: z.object({ hr10: z.number() }),
})

test(
  'a topic is replayed in the order of time, with the same bits each time',
  async () => {
    const url = `kafka://${broker.address}/${topic}`
    const digests = []
    for (let i = 0; i < 2; i += 1) {
      const { json, code } = await run('replay', url, '--json')
      expect(code).toBe(0)
      const result = replayed.parse(json)
      expect(result.events).toBe(900)
      digests.push(result.stateDigest)
    }
    expect(digests[1]).toBe(digests[0])
    const part = await run('replay', `${url}?from=0:5,1:5,2:5,3:5`, '--json')
    expect(replayed.parse(part.json).events).toBe(880)
  },
  limitMs,
)

test(
  'a topic is imported in the order of time, and an import goes on where one ended',
  async () => {
    using directory = temporaryDirectory()
    const url = `kafka://${broker.address}/${topic}`
    const place = ['--data', directory.path, '--json']
    const first = await run('import', 'kafka', url, ...place)
    const { events, next } = z.object({ events: z.number(), next: z.string() }).parse(first.json)
    expect(events).toBe(900)
    const again = await run('import', 'kafka', `${url}?from=${next}`, ...place)
    expect(again.json).toMatchObject({ events: 0, next })
    const reader = await openFileLogReader({ directory: join(directory.path, 'log') })
    expect((await readAll(reader, await reader.start(), 1_000)).events).toEqual(written)
    await reader.close()
  },
  limitMs,
)

test(
  'a command that finds no topic says so and ends',
  async () => {
    const url = `kafka://${broker.address}/nowhere`
    const child = promisify(execFile)(process.execPath, [entry, 'replay', url])
    await expect(child).rejects.toMatchObject({
      code: 3,
      stderr: expect.stringContaining('LOG_TOPIC_UNKNOWN: there is no topic nowhere'),
    })
  },
  limitMs,
)

test(
  'a topic is read from an offset, a position, a time, and not from where it has nothing',
  async () => {
    const url = `kafka://${broker.address}/${topic}`
    const eventsFrom = async (from: string) =>
      replayed.parse((await run('replay', `${url}?from=${from}`, '--json')).json).events
    const log = await openKafkaLog({ brokers: [broker.address], topic })
    const end = await log.end()
    await log.close()
    const counts = Object.values(end).map((text) => Number(text.split(':')[1]))
    expect(await eventsFrom('100')).toBe(
      counts.reduce((sum, count) => sum + Math.max(0, count - 100), 0),
    )
    expect(await eventsFrom('2:100')).toBe(900 - 100)
    // Messages have the time at which they were written.
    expect(await eventsFrom(new Date(startedAt).toISOString())).toBe(900)
    expect(await eventsFrom('2100-01-01T00:00:00Z')).toBe(0)
    const beyond = await run('replay', `${url}?from=0:99999`, '--json')
    expect(beyond.code).not.toBe(0)
    expect(beyond.err.join()).toContain('LOG_OFFSET_UNKNOWN')
    const other = await run('replay', `${url}?from=7:0`)
    expect(other.err.join()).toContain('the topic has no partition 7')
  },
  limitMs,
)

test(
  'what a URL cannot say is refused',
  async () => {
    const bad = await run('replay', `kafka://${broker.address}/${topic}?from=yesterday`)
    expect(bad.code).not.toBe(0)
    expect(bad.err.join()).toContain('USAGE_INVALID')
    expect(() => parseKafkaUrl('kafka://host')).toThrow('expected kafka://host:port/topic')
    expect(() => parseKafkaUrl('kafka://host/t?form=1')).toThrow('form is none of')
    expect(() => parseKafkaUrl('kafka://me@host/t')).toThrow('password-file')
    expect(parseKafkaUrl('kafka://a,b:9093/t?from=7&tls=true')).toEqual({
      settings: { brokers: ['a:9092', 'b:9093'], topic: 't', tls: {} },
      from: '7',
    })
  },
  limitMs,
)
