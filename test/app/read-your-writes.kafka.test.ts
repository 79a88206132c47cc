/**
 * Whoever writes at one door reads at another: processes that take events and processes that answer
 * behind any load balancer, on a topic of several partitions.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { Fleet, type Member } from '../support/fleet.ts'
import { makeTopic } from '../support/kafka-server.ts'
import { brokerAndRedis } from '../support/shared-servers.ts'

const started = brokerAndRedis()

const patienceMs = 60_000

/** The answer when it is one: a process that is too busy to show a write in time says 503. */
async function answered(member: Member, path: string, init: RequestInit = {}) {
  const limit = performance.now() + patienceMs
  for (;;) {
    const response = await fetch(`${member.client.address}${path}`, init)
    // Of the routes that the test asks.
    const body = (await response.json()) as Record<string, unknown>
    if (response.status !== 503 || performance.now() > limit) {
      return { status: response.status, body }
    }
    await sleep(100)
  }
}

const json = (method: string, body: unknown): RequestInit => ({
  method,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

test('what is written at any door is read at any desk, by the offset of the write', async () => {
  const topic = await makeTopic(started().broker.address, 4)
  const servers = {
    broker: started().broker.address,
    topic,
    redis: `redis://127.0.0.1:${started().redis.port}`,
  }
  await using fleet = new Fleet(servers)
  const doors = [await fleet.start('ingest 1', 'ingest'), await fleet.start('ingest 2', 'ingest')]
  const desks = [
    await fleet.start('serving 1', 'serving'),
    await fleet.start('serving 2', 'serving'),
  ]
  const random = seededRandom(5)
  const any = (members: readonly Member[]): Member => members[random.integer(members.length)]

  for (let i = 0; i < 15; i += 1) {
    const item = `item-${i}`
    const features = { title: `title ${i}` }
    const put = await answered(any(doors), `/v1/items/${item}`, json('PUT', { features }))
    expect(put.status).toBe(200)
    const read = await answered(
      any(desks),
      `/v1/items/${item}?minSequence=${String(put.body['offset'])}`,
    )
    expect(read).toMatchObject({ status: 200, body: { id: item, features } })
  }
  for (let i = 0; i < 10; i += 1) {
    // Users of one request are on all partitions; one offset stands for all of them.
    const users = Array.from({ length: 20 }, (_, n) => `user-${i}-${n}`)
    const clicks = users.map((userId) => ({ userId, itemId: `item-${i}`, type: 'click' }))
    const posted = await answered(any(doors), '/v1/events', json('POST', clicks))
    expect(posted).toMatchObject({ status: 202, body: { accepted: 20 } })
    const offset = String(posted.body['offset'])
    expect(offset.split(',')).toHaveLength(4)
    for (const userId of users.slice(0, 6)) {
      const path = `/v1/users/${userId}?minSequence=${encodeURIComponent(offset)}`
      const read = await answered(any(desks), path)
      expect(read).toMatchObject({ status: 200, body: { history: [{ itemId: `item-${i}` }] } })
    }
  }
  const gone = await answered(any(doors), '/v1/items/item-3', { method: 'DELETE' })
  const path = `/v1/items/item-3?minSequence=${String(gone.body['offset'])}`
  for (const desk of desks) expect((await answered(desk, path)).status).toBe(404)
}, 240_000)
