import { expect, test } from 'vitest'

import { Freshness } from '../../src/serving/freshness.ts'

const compare = (a: string, b: string): number => Number(a) - Number(b)
const watermark = (offset: string) => ({ offsets: { 0: offset }, acceptedAt: 0 })
const event = (offset: string, acceptedAt: number) => ({ partition: 0, offset, acceptedAt })

/** So many touched items, all of one kind. */
const mark = (touched: number) => ({ ahead: 0, behind: touched })

const maxima = ({ stages }: Freshness): number[] => [
  stages.fact.max,
  stages.parameter.max,
  stages.index.max,
]

test('an interaction goes through the three stages, each measured from its acceptance', () => {
  const freshness = new Freshness(compare)
  freshness.folded(event('7', 1000), true, 1005)
  freshness.learned(watermark('7'), mark(3), 1050)
  expect(maxima(freshness)).toEqual([5, 0, 0])
  freshness.learned(watermark('8'), mark(3), 1100)
  freshness.embedded(mark(2), 1150)
  expect(maxima(freshness)).toEqual([5, 100, 0])
  freshness.embedded(mark(3), 1200)
  expect(maxima(freshness)).toEqual([5, 100, 200])
})

test('items that go ahead do not stand for those that changed before them', () => {
  const freshness = new Freshness(compare)
  freshness.folded(event('7', 1000), true, 1000)
  freshness.learned(watermark('8'), { ahead: 1, behind: 5 }, 1100)
  freshness.embedded({ ahead: 4, behind: 4 }, 1200)
  expect(freshness.stages.index.count).toBe(0)
  freshness.embedded({ ahead: 4, behind: 5 }, 1300)
  expect(maxima(freshness)).toEqual([0, 100, 300])
})

test('an event that was learned from before it was folded is not waited for', () => {
  const freshness = new Freshness(compare)
  freshness.learned(watermark('8'), mark(0), 1100)
  freshness.folded(event('7', 1000), true, 1120)
  freshness.settle(0, 1120)
  freshness.embedded(mark(0), 1130)
  expect(maxima(freshness)).toEqual([120, 120, 130])
})

test('an event that teaches nothing has the first stage only, and no time is negative', () => {
  const freshness = new Freshness(compare)
  freshness.folded(event('7', 1000), false, 990)
  freshness.learned(watermark('8'), mark(0), 1100)
  freshness.embedded(mark(0), 1100)
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

test('of each partition, what stands before the watermark is learned, and nothing else', () => {
  const freshness = new Freshness(compare)
  for (let i = 0; i < 100; i += 1) freshness.folded(event(String(i), 1000), true, 1000)
  for (let i = 0; i < 50; i += 1) {
    freshness.folded({ ...event(String(i), 1000), partition: 1 }, true, 1000)
  }
  freshness.learned({ offsets: { 0: '60', 1: '10' }, acceptedAt: 0 }, mark(0), 1100)
  expect(freshness.stages.parameter.count).toBe(70)
  freshness.settle(1, 1200)
  expect(freshness.stages.parameter.count).toBe(70)
  freshness.learned({ offsets: { 0: '1000', 1: '50' }, acceptedAt: 0 }, mark(0), 1300)
  expect(freshness.stages.parameter.count).toBe(150)
  expect(freshness.skipped).toBe(0)
})
