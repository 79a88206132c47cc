/** A broker that dies, that is silent, and that asks who is there. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { ServiceError } from '../../../src/base/errors.ts'
import type { Event } from '../../../src/stream/event.ts'
import {
  type KafkaLog,
  type KafkaLogOptions,
  openKafkaLog,
} from '../../../src/stream/kafka/kafka-log.ts'
import { atOnce, readAll } from '../../contract/event-log.ts'
import { interaction } from '../../support/events.ts'
import { brokerUser, KafkaServer, makeTopic } from '../../support/kafka-server.ts'

const limitMs = 180_000
let broker: KafkaServer

beforeAll(async () => {
  broker = await KafkaServer.start({ secure: true })
}, limitMs)

afterAll(async () => {
  await broker.stop()
})

const open = (topic: string, more: Partial<KafkaLogOptions> = {}): Promise<KafkaLog> =>
  openKafkaLog({ brokers: [broker.address], topic, requestTimeoutMs: 2_000, ...more })

const eventsOf = (from: number, count: number): Event[] =>
  Array.from({ length: count }, (_, i) =>
    interaction({ eventId: `e-${from + i}`, userId: `u-${(from + i) % 97}`, timestamp: from + i }),
  )

const idsOf = (events: readonly Event[]): string[] => events.map(({ eventId = '' }) => eventId)

/** Appends as fast as it goes until told to stop; what was acknowledged, by offset. */
async function writeUntil(
  log: KafkaLog,
  stop: AbortSignal,
  acknowledged = new Map<string, string>(),
): Promise<Map<string, string>> {
  for (let from = 0; !stop.aborted; from += 20) {
    const events = eventsOf(from, 20)
    const offsets = await log.append(events)
    for (const [i, offset] of offsets.entries()) acknowledged.set(offset, idsOf(events)[i])
  }
  return acknowledged
}

/** Reads on until it has what it waits for. */
async function follow(log: KafkaLog, isEnough: (ids: Set<string>) => boolean): Promise<string[]> {
  const ids: string[] = []
  const known = new Set<string>()
  const at: Record<number, string> = {}
  const limit = performance.now() + limitMs / 2
  while (!isEnough(known) && performance.now() < limit) {
    for (const { events, partition, next } of await log.read(at, { ...atOnce(100), waitMs: 100 })) {
      for (const id of idsOf(events)) known.add(id)
      ids.push(...idsOf(events))
      at[partition] = next
    }
  }
  return ids
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

test(
  'a broker killed again and again under load: nothing acknowledged is lost or doubled',
  async () => {
    const topic = await makeTopic(broker.address, 4)
    await using writer = disposable(await open(topic, { appendLimitMs: limitMs }))
    await using reader = disposable(await open(topic))
    const stop = new AbortController()
    const written = new Map<string, string>()
    const writing = writeUntil(writer.log, stop.signal, written)
    let all = Infinity
    const reading = follow(reader.log, ({ size }) => size >= all)
    for (const pauseMs of [700, 1_200]) {
      await sleep(pauseMs)
      await broker.kill()
      await broker.start()
    }
    await sleep(1_000)
    // However busy the machine is.
    await expect.poll(() => written.size, { timeout: limitMs / 4 }).toBeGreaterThan(100)
    stop.abort()
    const acknowledged = await writing
    all = acknowledged.size
    expect(all).toBeGreaterThan(100)
    const followed = await reading
    expect(followed).toHaveLength(all)
    expect(new Set(followed)).toEqual(new Set(acknowledged.values()))
    const { events, offsets } = await readAll(reader.log, {})
    const ids = idsOf(events)
    expect(new Map(offsets.map((offset, i) => [offset, ids[i]]))).toEqual(acknowledged)
  },
  limitMs,
)

test(
  'a broker that is silent, not dead, delays and doubles nothing',
  async () => {
    const topic = await makeTopic(broker.address, 2)
    await using subject = disposable(await open(topic, { appendLimitMs: limitMs }))
    const { log } = subject
    await log.append(eventsOf(0, 10))
    broker.pause()
    // Longer than a request may take: it is sent again.
    const appending = log.append(eventsOf(10, 10))
    await sleep(5_000)
    expect(await log.read({ 0: '0:900', 1: '1:900' }, { ...atOnce(1), waitMs: 100 })).toEqual([])
    broker.resume()
    expect(await appending).toHaveLength(10)
    const { events } = await readAll(log, {})
    expect(idsOf(events).toSorted()).toEqual(idsOf(eventsOf(0, 20)).toSorted())
  },
  limitMs,
)

test(
  'nobody there: an append that was not sent is refused as such, and reported once',
  async () => {
    const topic = await makeTopic(broker.address, 2)
    const reports: string[] = []
    await using subject = disposable(
      await open(topic, {
        appendLimitMs: 1_500,
        giveUpMs: 500,
        report: ({ code }) => reports.push(code),
      }),
    )
    const { log } = subject
    await broker.kill()
    const failures = await Promise.allSettled([log.append(eventsOf(0, 5)), log.end()])
    for (const failure of failures) {
      const reason: unknown = failure.status === 'rejected' ? failure.reason : undefined
      expect(reason).toBeInstanceOf(ServiceError)
      expect(reason).toMatchObject({ code: 'LOG_UNAVAILABLE', retryable: true })
    }
    await expect(log.read({}, atOnce(5))).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' })
    await broker.start()
    const written = await log.append(eventsOf(0, 5))
    expect(written).toHaveLength(5)
    expect((await readAll(log, {})).events).toHaveLength(5)
    expect(reports).toEqual(['brokersUnavailable', 'brokersBack'])
  },
  limitMs,
)

describe('who is there', () => {
  test.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)(
    'SASL %s: a user gets in, another does not',
    async (mechanism) => {
      const topic = await makeTopic(broker.address, 2)
      const brokers = [broker.saslAddress]
      const sasl = { mechanism, ...brokerUser }
      await using subject = disposable(await open(topic, { brokers: [broker.saslAddress], sasl }))
      // What the broker advertises for this listener is this listener.
      await subject.log.append(eventsOf(0, 10))
      expect((await readAll(subject.log, {})).events).toHaveLength(10)
      const stranger = open(topic, { brokers, sasl: { ...sasl, password: 'guess' } })
      await expect(stranger).rejects.toMatchObject({ code: 'LOG_REFUSED' })
    },
    60_000,
  )

  test('TLS: only with the authority of the broker', async () => {
    const topic = await makeTopic(broker.address, 2)
    const brokers = [broker.tlsAddress]
    const tls = { ca: broker.certificate }
    await using subject = disposable(await open(topic, { brokers, tls }))
    await subject.log.append(eventsOf(0, 10))
    expect((await readAll(subject.log, {})).events).toHaveLength(10)
    const trusting = open(topic, { brokers, tls: {}, giveUpMs: 1_000 })
    await expect(trusting).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' })
  }, 60_000)
})

const disposable = (log: KafkaLog): { readonly log: KafkaLog } & AsyncDisposable => ({
  log,
  [Symbol.asyncDispose]: () => log.close(),
})
