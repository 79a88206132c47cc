/** When the trainer makes a delta; what is in one is tested with the trainer's loop. */
import { expect, test } from 'vitest'

import { ManualClock } from '../../src/base/clock.ts'
import type { Delta } from '../../src/sync/delta.ts'
import type { ParameterPublisher } from '../../src/sync/parameter-sync.ts'
import { Trainer } from '../../src/trainer/trainer-loop.ts'
import { MemoryLog, settings, shopEvents, trainerModel } from '../support/trainer.ts'

/** Of each delta the rows of the table that has most. */
async function sizesOfDeltas(deltaMaxRows?: number): Promise<readonly number[]> {
  const sizes: number[] = []
  const publisher: ParameterPublisher = {
    publish: ({ tables }: Delta) => {
      sizes.push(Math.max(0, ...tables.map(({ keys }) => keys.length / 2)))
      return Promise.resolve()
    },
    onResync: () => undefined,
    close: () => Promise.resolve(),
  }
  const trainer = await Trainer.create({
    model: trainerModel(),
    // The clock stands still: the first delta is due, no other is by time.
    process: { ...settings(), deltaIntervalMs: 60_000, deltaMaxRows },
    clock: new ManualClock(0),
    reader: new MemoryLog(shopEvents(1500)),
    publisher,
  })
  await trainer.run({ signal: new AbortController().signal, untilEnd: true })
  await trainer.close()
  return sizes
}

test('a delta is made early when many rows have changed', async () => {
  const [first, last, ...more] = await sizesOfDeltas()
  expect(more).toEqual([])
  const limit = last / 2
  const sizes = await sizesOfDeltas(limit)
  expect(sizes[0]).toBe(first)
  expect(sizes.length).toBeGreaterThan(3)
  // Looked for after every read of 50 events, of which none has more than one user and one item.
  for (const size of sizes) expect(size).toBeLessThanOrEqual(limit * 1.125 + 50)
  expect(sizes.slice(1, -1).every((size) => size >= limit)).toBe(true)
})
