/** The record of many processes: answers and counts in Redis, events in a log. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'

import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { AnswerCounter } from '../../../src/app/versions/answer-counter.ts'
import { AnswerSender } from '../../../src/app/versions/answer-sender.ts'
import { recordedName } from '../../../src/app/versions/experiment-record.ts'
import { ExperimentStore } from '../../../src/app/versions/experiment-store.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { FileLog } from '../../../src/stream/files/file-log.ts'
import { type ExperimentUnderTest, testExperiment } from '../../contract/experiment.ts'
import { RedisServer, until } from '../../support/redis-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

let server: RedisServer
let redis: Redis
beforeAll(async () => {
  server = await RedisServer.start()
  redis = new Redis({ port: server.port, host: '127.0.0.1' })
}, 120_000)
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

const record = {
  windowMs: 60_000,
  maxAnswers: 1_000,
  maxItems: 10,
  usersPercent: 100,
  types: ['click'],
}

interface Shared extends ExperimentUnderTest {
  readonly tag: string
  readonly store: ExperimentStore
}

/** Two processes that answer, one that counts, and one that waits for that. */
async function open(holdEventsMs = 500): Promise<Shared> {
  const directory = temporaryDirectory()
  const tag = randomUUID()
  const log = await FileLog.open({ directory: join(directory.path, 'log'), fsync: 'never' })
  const storeOf = () => new ExperimentStore({ redis: server.settings, tag, maxAnswers: 1_000 })
  const common = { ...record, clock: systemClock, isWanted: () => true, onTrouble: () => undefined }
  const countOn = async () => {
    const store = storeOf()
    const counter = new AnswerCounter({
      ...common,
      store,
      log,
      holdMs: 1_000,
      holdEventsMs,
    })
    await counter.start()
    return { store, counter }
  }
  const desks = [storeOf(), storeOf()].map(
    (store) => new AnswerSender({ ...common, store, maxAgeMs: 20_000 }),
  )
  for (const desk of desks) await desk.start()
  const counters = [await countOn()]
  await until('a count', () => counters[0].counter.isCounting)
  counters.push(await countOn())
  return {
    tag,
    desks,
    store: counters[0].store,
    async append(events) {
      await log.append(events)
    },
    async killCounter() {
      const [{ store, counter }] = counters.splice(0, 1)
      // It says no more: neither what it has counted since, nor that it leaves.
      store.close()
      await counter.stop()
      counters.push(await countOn())
    },
    async [Symbol.asyncDispose]() {
      for (const { counter } of counters) await counter.stop()
      for (const desk of desks) await desk.stop()
      await log.close()
      directory[Symbol.dispose]()
    },
  }
}

describe.concurrent('in many processes', () => {
  testExperiment(() => open())

  test('what a server has lost is put back by whoever counts', async () => {
    await using subject = await open()
    const { desks, tag } = subject
    const given = { requestId: 'r', userId: 'u', version: 'a', items: [{ id: 'x' }] }
    desks[0].answered(given)
    const answers = () => desks[1].report().versions[0]?.answers
    await until('one', () => answers() === 1)
    await redis.del(...['', ':answers', ':taken'].map((end) => `{freshet:${tag}}:experiment${end}`))
    desks[0].answered(given)
    await until('two', () => answers() === 2)
    expect(await redis.exists(`{freshet:${tag}}:experiment`)).toBe(1)
  })

  test('what Redis does not take is dropped and counted, and nobody waits', async () => {
    const redisOf = await RedisServer.start()
    const store = new ExperimentStore({ redis: redisOf.settings, tag: 'away', maxAnswers: 10 })
    const troubles: unknown[] = []
    const sender = new AnswerSender({
      ...record,
      store,
      clock: systemClock,
      maxAgeMs: 500,
      isWanted: () => true,
      onTrouble: (error) => troubles.push(error),
    })
    await sender.start()
    await redisOf.stop()
    for (let i = 0; i < 300; i += 1) {
      sender.answered({ requestId: `${i}`, userId: 'u', version: 'a', items: [{ id: 'x' }] })
    }
    await until('all dropped', () => sender.report().dropped === 300)
    expect(troubles.length).toBeGreaterThan(0)
    await expect(sender.answers(1, {})).rejects.toMatchObject({ code: 'VERSIONS_UNAVAILABLE' })
    await sender.stop()
  })

  test('the stream is bounded, also where nobody counts', async () => {
    const tag = randomUUID()
    const store = new ExperimentStore({ redis: server.settings, tag, maxAnswers: 100 })
    const text = JSON.stringify({ requestId: 'r', user: 'u', version: 'a', items: [] })
    const said = Array.from({ length: 100 }, () => [0, text]).flat()
    await until('a connection', () => store.append([]).then(() => true))
    for (let i = 0; i < 10; i += 1) await store.append(said)
    // It is cut in nodes of up to a hundred.
    expect(await redis.xlen(`{freshet:${tag}}:experiment:answers`)).toBeLessThanOrEqual(200)
    store.close()
  })

  test('a click that is read before its answer has arrived waits for it', async () => {
    await using subject = await open(5_000)
    const at = Date.now()
    const click = { kind: 'interaction', userId: 'u', itemId: 'x', type: 'click' } as const
    await subject.append([{ ...click, timestamp: at, acceptedAt: at }])
    const answer = { requestId: 'r', user: recordedName('u'), version: 'a', items: ['x'] }
    await subject.store.append([Date.now() - at + 10, JSON.stringify(answer)])
    const rows = () => subject.desks[0].report().versions
    await until('an interaction', () => rows()[0]?.interactions === 1)
    expect(rows()).toMatchObject([{ version: 'a', answers: 1, answersTaken: 1, hits: 1 }])
  })
})
