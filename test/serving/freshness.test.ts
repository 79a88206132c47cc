import { expect, test } from 'vitest'

import { Freshness } from '../../src/serving/freshness.ts'

const compare = (a: string, b: string): number => Number(a) - Number(b)
const watermark = (offset: string) => ({ offsets: { 0: offset }, acceptedAt: 0 })
const event = (offset: string, acceptedAt: number) => ({ partition: 0, offset, acceptedAt })

const maxima = ({ stages }: Freshness): number[] => [
  stages.fact.max,
  stages.parameter.max,
  stages.index.max,
]

test('an interaction goes through the three stages, each measured from its acceptance', () => {
  const freshness = new Freshness(compare)
  freshness.folded(event('7', 1000), true, 1005)
  freshness.learned(watermark('7'), 3, 1050)
  expect(maxima(freshness)).toEqual([5, 0, 0])
  freshness.learned(watermark('8'), 3, 1100)
  freshness.embedded(2, 1150)
  expect(maxima(freshness)).toEqual([5, 100, 0])
  freshness.embedded(3, 1200)
  expect(maxima(freshness)).toEqual([5, 100, 200])
})

test('an event that was learned from before it was folded is not waited for', () => {
  const freshness = new Freshness(compare)
  freshness.learned(watermark('8'), 0, 1100)
  freshness.folded(event('7', 1000), true, 1120)
  freshness.embedded(0, 1130)
  expect(maxima(freshness)).toEqual([120, 120, 130])
})

test('an event that teaches nothing has the first stage only, and no time is negative', () => {
  const freshness = new Freshness(compare)
  freshness.folded(event('7', 1000), false, 990)
  freshness.learned(watermark('8'), 0, 1100)
  freshness.embedded(0, 1100)
  const { fact, parameter, index } = freshness.stages
  expect([fact.count, parameter.count, index.count]).toEqual([1, 0, 0])
  expect(fact.max).toBe(0)
})

test('what waits is bounded, and what is passed over is counted', () => {
  const freshness = new Freshness(compare)
  for (let i = 0; i < 70_000; i += 1) freshness.folded(event(String(i), 0), true, 0)
  expect(freshness.skipped).toBe(70_000 - 65_536)
  freshness.reset()
  expect(freshness.stages.fact.count).toBe(0)
})
