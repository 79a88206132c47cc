/**
 * A standby takes over from a trainer that was paused past its lease, rows in Redis included: one
 * trains at a time, the old one ends when it wakes up, and the replica stays ready all the while.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { Shop } from '../../src/app/demo/shop.ts'
import { eventuallyWithin, Fleet, type Member } from '../support/fleet.ts'
import { makeTopic } from '../support/kafka-server.ts'
import { brokerAndRedis } from '../support/shared-servers.ts'

const started = brokerAndRedis()

const limitMs = 120_000
const eventually = eventuallyWithin(limitMs)

const gauge = async ({ client }: Member, name: string): Promise<number> =>
  (await client.metrics()).get(`freshet_${name}`) ?? Number.NaN

/** Asks for readiness and a recommendation, again and again; what was wrong. */
function watching({ client }: Member) {
  const stopping = new AbortController()
  const faults: string[] = []
  let looks = 0
  const done = (async () => {
    while (!stopping.signal.aborted) {
      const isReady = await client.isReady().catch(String)
      if (isReady !== true) faults.push(`ready: ${isReady}`)
      const answer = await client.recommend('user-1', { n: 10 }).catch(String)
      const items = typeof answer === 'string' ? answer : answer.items.length
      if (items !== 10) faults.push(`items: ${items}`)
      looks += 1
      await sleep(10)
    }
  })()
  return {
    async stop() {
      stopping.abort()
      await done
      return { faults, looks }
    },
  }
}

test('a trainer paused past its lease is replaced, ends when it wakes, and nobody notices', async () => {
  const topic = await makeTopic(started().broker.address, 2)
  const servers = {
    broker: started().broker.address,
    topic,
    redis: `redis://127.0.0.1:${started().redis.port}`,
  }
  const rows = ['process.tables.byTable={user: {rows: tiered, memoryRows: 4000}}']
  await using fleet = new Fleet(servers, [...rows, `process.tables.redis.url=${servers.redis}`])
  const door = await fleet.start('ingest', 'ingest')
  const first = await fleet.start('trainer 1', 'trainer')
  const desk = await fleet.start('serving', 'serving')
  const shop = new Shop({ seed: 3, users: 50, items: 200 })
  let sent = 0
  const send = async (n: number): Promise<void> => {
    const clicks = Array.from({ length: n }, () => shop.next()).flatMap((event) =>
      event.kind === 'interaction'
        ? [{ kind: 'interaction', userId: event.userId, itemId: event.itemId, type: 'click' }]
        : [],
    )
    const { accepted } = await door.client.sendEvents(clicks)
    sent += accepted
  }
  const learned = async (member: Member): Promise<boolean> =>
    (await gauge(member, 'trainer_examples_total')) === sent
  await send(800)
  await eventually(fleet, 'learned', () => learned(first))
  await desk.client.waitUntilReady(limitMs)
  const second = await fleet.start('trainer 2', 'trainer')
  await eventually(fleet, 'a standby', async () => (await gauge(second, 'lease_standby')) === 1)
  const epoch = await gauge(first, 'lease_epoch')
  expect(await gauge(first, 'lease_active')).toBe(1)
  expect(await gauge(first, 'sync_readers')).toBe(1)
  const resyncs = await gauge(desk, 'sync_resyncs_total')

  const watch = watching(desk)
  await send(300)
  first.pause()
  await send(300)
  await eventually(fleet, 'a take-over', async () => (await gauge(second, 'lease_active')) === 1)
  expect(await gauge(second, 'lease_epoch')).toBeGreaterThan(epoch)
  await eventually(fleet, 'all learned by the other', () => learned(second))
  first.resume()
  expect(await first.ended).toBe(1)
  expect(first.log.join('\n')).toMatch(/LEASE_LOST|SYNC_FENCED/)
  await send(300)
  await eventually(fleet, 'more learned', () => learned(second))
  const steps = await gauge(second, 'trainer_steps_total')
  await eventually(fleet, 'the replica there', async () => {
    const { model } = await desk.client.recommend('user-1', { n: 1 })
    return model.version === steps
  })
  expect(await gauge(desk, 'sync_resyncs_total')).toBeGreaterThan(resyncs)
  const { faults, looks } = await watch.stop()
  expect(faults).toEqual([])
  expect(looks).toBeGreaterThan(50)
}, 600_000)
