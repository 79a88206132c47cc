import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import {
  meanRank,
  mrr10,
  ndcg10,
  RankingMetrics,
  RankingWindow,
} from '../../../src/trainer/evaluation/ranking-metrics.ts'

test('ties count at their mean rank', () => {
  expect(meanRank(0, 0)).toBe(1)
  expect(meanRank(3, 0)).toBe(4)
  // Ranks 4, 5 and 6 are shared by three.
  expect(meanRank(3, 2)).toBe(5)
  expect(meanRank(0, 999)).toBe(500.5)
})

test('gains are those of the definitions', () => {
  expect(ndcg10(1)).toBe(1)
  expect(ndcg10(3)).toBeCloseTo(1 / 2, 12)
  expect(ndcg10(10.5)).toBe(0)
  expect(mrr10(4)).toBe(0.25)
  expect(mrr10(Infinity)).toBe(0)
})

test('a report is the mean over ranks, misses included', () => {
  const metrics = new RankingMetrics()
  for (const rank of [1, 2, 11, Infinity]) metrics.add(rank)
  expect(metrics.report()).toMatchObject({
    hr1: 0.25,
    hr5: 0.5,
    hr10: 0.5,
    hr20: 0.75,
    hr100: 0.75,
    mrr10: 0.375,
    evaluated: 4,
  })
})

test('nothing evaluated is zeros, not NaN', () => {
  expect(new RankingMetrics().report()).toMatchObject({ hr10: 0, mrr10: 0, evaluated: 0 })
})

test('a window holds the newest ranks only', () => {
  const window = new RankingWindow(3)
  for (const rank of [1, 1, 1, Infinity, Infinity, 2]) window.add(rank)
  expect(window.report()).toMatchObject({ hr1: 0, hr5: 1 / 3, evaluated: 3 })
})

test('metrics and windows survive a restart, into a smaller window too', () => {
  const metrics = new RankingMetrics()
  const window = new RankingWindow(4)
  for (const rank of [1, 3, 9, 40, 7, 2]) {
    metrics.add(rank)
    window.add(rank)
  }
  const writer = new ByteWriter()
  metrics.serialize(writer)
  window.serialize(writer)
  window.serialize(writer)
  const reader = new ByteReader(writer.finish())
  const [again, same, smaller] = [new RankingMetrics(), new RankingWindow(4), new RankingWindow(2)]
  again.load(reader)
  same.load(reader)
  smaller.load(reader)
  expect(again.report()).toEqual(metrics.report())
  expect(same.report()).toEqual(window.report())
  expect(smaller.report()).toMatchObject({ hr1: 0, hr5: 0.5, evaluated: 2 })
})
