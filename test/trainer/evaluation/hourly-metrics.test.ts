import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import { HourlyMetrics } from '../../../src/trainer/evaluation/hourly-metrics.ts'

const hourMs = 3_600_000
const start = 400_000 * hourMs

function twoHours(): HourlyMetrics {
  const hours = new HourlyMetrics()
  hours.add(start + hourMs, 'model', 2)
  hours.add(start + 5, 'model', 1)
  hours.add(start + hourMs - 1, 'model', Infinity)
  hours.add(start + 5, 'recentlyPopular', 10)
  hours.addLoss(start + 9, 2, 30)
  hours.addLoss(start + 19, 5, 10)
  return hours
}

test('ranks and losses belong to the hour of their time, oldest first', () => {
  const [first, second, ...others] = twoHours().report()
  expect(others).toEqual([])
  expect(first).toMatchObject({
    startsAt: start,
    loss: 2.75,
    model: { evaluated: 2, hr1: 0.5, mrr10: 0.5 },
    recentlyPopular: { evaluated: 1, hr5: 0, hr10: 1 },
  })
  expect(second).toMatchObject({ startsAt: start + hourMs, loss: 0, model: { mrr1: 0, mrr5: 0.5 } })
})

test('what is saved is what was there', () => {
  const writer = new ByteWriter()
  twoHours().serialize(writer)
  const loaded = new HourlyMetrics()
  loaded.add(0, 'model', 3)
  loaded.load(new ByteReader(writer.finish()))
  expect(loaded.report()).toEqual(twoHours().report())
})

test('the oldest hours are forgotten, however late an event comes', () => {
  const hours = new HourlyMetrics(3)
  for (const hour of [5, 7, 6, 8, 2]) hours.add(start + hour * hourMs, 'model', 1)
  const kept = hours.report().map(({ startsAt }) => (startsAt - start) / hourMs)
  expect(kept).toEqual([6, 7, 8])
})
