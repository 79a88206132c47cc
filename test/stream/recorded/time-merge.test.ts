import { expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import type { Event } from '../../../src/stream/event.ts'
import { TimeMerge } from '../../../src/stream/recorded/time-merge.ts'
import { atOnce, readAll } from '../../contract/event-log.ts'
import { interaction } from '../../support/events.ts'
import { PartitionedLog } from '../../support/partitioned-log.ts'

const random = seededRandom(3)
const written: Event[] = []
let time = 0
for (let i = 0; i < 400; i += 1) {
  time += random.integer(3)
  written.push(interaction({ eventId: String(i), userId: `u-${i % 23}`, acceptedAt: time }))
}

const open = async (seed: number, until?: Readonly<Record<number, string>>) => {
  const log = new PartitionedLog(written, 4, seededRandom(seed))
  return new TimeMerge(log, await log.start(), until ?? (await log.end()))
}

test('events come in the order of time, each once, however they are read', async () => {
  const orders = []
  for (const [seed, step] of [1, 7, 1_000].entries()) {
    const merge = await open(seed)
    const { events, next } = await readAll(merge, await merge.start(), step)
    expect(events.map(({ acceptedAt }) => acceptedAt)).toEqual(
      written.map(({ acceptedAt }) => acceptedAt),
    )
    expect(next).toEqual(await merge.end())
    orders.push(events.map(({ eventId }) => eventId))
  }
  expect(new Set(orders[0]).size).toBe(400)
  expect(orders[1]).toEqual(orders[0])
  expect(orders[2]).toEqual(orders[0])
})

test('it goes on from any position in the same order', async () => {
  const whole = await open(1)
  const { events } = await readAll(whole, await whole.start(), 1_000)
  const first = await open(2)
  const at = { ...(await first.start()) }
  const begun: Event[] = []
  for (const batch of await first.read(at, atOnce(150))) {
    begun.push(...batch.events)
    at[batch.partition] = batch.next
  }
  expect(begun).toHaveLength(150)
  const rest = await readAll(await open(3), at, 60)
  expect([...begun, ...rest.events]).toEqual(events)
})

test('nothing from the end on is read', async () => {
  const merge = await open(4, { 0: '10', 1: '0', 2: '7', 3: '1' })
  const { events, next } = await readAll(merge, await merge.start(), 5)
  expect(events).toHaveLength(18)
  expect(next).toEqual({ 0: '10', 1: '0', 2: '7', 3: '1' })
})
