/**
 * The distributed shape as it runs: processes of one role or some, a real broker, a real Redis.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { describe, expect, test } from 'vitest'

import { Shop } from '../../src/app/demo/shop.ts'
import { eventuallyWithin, Fleet, type Member } from '../support/fleet.ts'
import { makeTopic } from '../support/kafka-server.ts'
import { brokerAndRedis } from '../support/shared-servers.ts'

const started = brokerAndRedis()

const limitMs = 60_000
const eventually = eventuallyWithin(limitMs)

/** Events of a small shop, as wire. */
const toWire = (shop: Shop, n: number) =>
  Array.from({ length: n }, () => shop.next()).flatMap((event) =>
    event.kind === 'interaction'
      ? [{ kind: 'interaction', userId: event.userId, itemId: event.itemId, type: 'click' }]
      : [],
  )

const examplesOf = async ({ client }: Member): Promise<number> =>
  (await client.metrics()).sum('freshet_trainer_examples_total')

const stepsOf = async ({ client }: Member): Promise<number> =>
  (await client.metrics()).sum('freshet_trainer_steps_total')

/** Asks every 20 ms until told to stop; how many answers there were, and what went wrong. */
function asking(members: readonly Member[]) {
  const stopping = new AbortController()
  const failures: string[] = []
  let answers = 0
  const done = (async () => {
    for (let i = 0; !stopping.signal.aborted; i += 1) {
      const { name, client } = members[i % members.length]
      try {
        const { items } = await client.recommend(`user-${1 + (i % 50)}`, { n: 10 })
        if (items.length === 10) answers += 1
        else failures.push(`${name}: ${items.length} items`)
      } catch (error) {
        failures.push(`${name}: ${String(error)}`)
      }
      await sleep(20)
    }
  })()
  return {
    async stop() {
      stopping.abort()
      await done
      return { answers, failures }
    },
  }
}

describe('ingest, two trainers, two that serve', { timeout: 240_000 }, () => {
  test('learn, answer, and go on when the trainer is killed', async () => {
    const topic = await makeTopic(started().broker.address, 3)
    const { port } = started().redis.address
    const servers = { broker: started().broker.address, topic, redis: `redis://127.0.0.1:${port}` }
    await using fleet = new Fleet(servers)
    const door = await fleet.start('ingest', 'ingest')
    const first = await fleet.start('trainer 1', 'trainer')
    const desks = [
      await fleet.start('serving 1', 'serving'),
      await fleet.start('serving 2', 'serving,jobs'),
    ]
    const shop = new Shop({ seed: 1, users: 50, items: 200 })
    await door.client.sendItems(
      shop.catalogue.map(({ itemId, title, categories }) => ({
        id: itemId,
        features: { title, categories },
      })),
    )
    let sent = 0
    const send = async (n: number): Promise<string> => {
      const events = toWire(shop, n)
      const { rejected, offset } = await door.client.sendEvents(events)
      expect(rejected).toEqual([])
      sent += events.length
      return String(offset)
    }
    await send(600)
    for (const desk of desks) await desk.client.waitUntilReady(limitMs)
    await eventually(fleet, 'learned', async () => (await examplesOf(first)) === sent)

    // Facts reach a reader that waits for them, before anything is learned of them.
    const offset = await send(1)
    for (const { client } of desks) {
      expect((await client.recommend('user-1', { n: 10, minSequence: offset })).items).toHaveLength(
        10,
      )
    }
    await expect(door.client.recommend('user-1', { n: 1 })).rejects.toThrow(/ROUTE_UNKNOWN/)

    // A job anywhere asks the trainer, wherever it is.
    expect(await desks[1].client.runJob('checkpoint')).toMatchObject({ state: 'done' })

    const second = await fleet.start('trainer 2', 'trainer')
    await second.client.waitUntilReady(limitMs)
    expect(await examplesOf(second)).toBe(0)
    const questions = asking(desks)
    for (let i = 0; i < 5; i += 1) await send(200)
    await first.end('SIGKILL')
    for (let i = 0; i < 5; i += 1) await send(200)
    await eventually(fleet, 'taken over', async () => (await examplesOf(second)) === sent)

    // And back: who was killed starts again, as the standby.
    const third = await fleet.start('trainer 1 again', 'trainer')
    await send(200)
    expect(await second.end('SIGTERM')).toBe(0)
    await send(200)
    await eventually(fleet, 'taken back', async () => (await examplesOf(third)) === sent)
    const { answers, failures } = await questions.stop()
    expect(failures).toEqual([])
    expect(answers).toBeGreaterThan(100)

    const steps = await stepsOf(third)
    const versionsOf = () =>
      Promise.all(
        desks.map(async ({ client }) => (await client.recommend('user-1', { n: 1 })).model.version),
      )
    await eventually(fleet, 'in step', async () =>
      (await versionsOf()).every((version) => version === steps),
    )
    await eventually(fleet, 'indexed', async () =>
      (await Promise.all(desks.map(({ client }) => client.isReady()))).every(Boolean),
    )
    await eventually(fleet, 'of one mind', async () => {
      for (const user of ['user-1', 'user-2', 'user-3', 'user-4']) {
        const answered = desks.map(({ client }) => client.recommend(user, { n: 10 }))
        const [a, b] = await Promise.all(answered)
        if (JSON.stringify(a.items) !== JSON.stringify(b.items)) return false
      }
      return true
    })
    for (const member of [...desks, door, third]) expect(await member.end('SIGTERM')).toBe(0)
  })
})
