import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import { seededRandom } from '../../../src/base/random.ts'
import {
  meanRank,
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

const reportOf = (rank: number) => {
  const metrics = new RankingMetrics()
  metrics.add(rank)
  return metrics.report()
}

test('gains are those of the definitions, within each cutoff', () => {
  expect(reportOf(1)).toMatchObject({ ndcg1: 1, ndcg100: 1, mrr1: 1, mrr100: 1 })
  const { ndcg1, ndcg5, ndcg100, mrr1, mrr5, mrr100 } = reportOf(3)
  expect([ndcg1, mrr1]).toEqual([0, 0])
  expect([ndcg5, ndcg100, mrr5, mrr100]).toEqual([
    expect.closeTo(1 / 2, 12),
    expect.closeTo(1 / 2, 12),
    1 / 3,
    1 / 3,
  ])
  expect(reportOf(10.5)).toMatchObject({ ndcg10: 0, mrr10: 0, hr10: 0, mrr20: 1 / 10.5 })
  expect(reportOf(Infinity)).toMatchObject({ ndcg100: 0, mrr100: 0, hr100: 0, evaluated: 1 })
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

test('a score that is no number is a miss, and told of, after a restart too', () => {
  const metrics = new RankingMetrics()
  for (const rank of [1, NaN]) metrics.add(rank)
  const writer = new ByteWriter()
  metrics.serialize(writer)
  const restarted = new RankingMetrics()
  restarted.load(new ByteReader(writer.finish()))
  const expected = { hr1: 0.5, hr100: 0.5, mrr1: 0.5, ndcg100: 0.5, evaluated: 2, notFinite: 1 }
  expect(metrics.report()).toMatchObject(expected)
  expect(restarted.report()).toEqual(metrics.report())
})

test('nothing evaluated is zeros, not NaN', () => {
  expect(new RankingMetrics().report()).toMatchObject({ hr10: 0, mrr10: 0, evaluated: 0 })
})

test('a window holds the newest ranks only', () => {
  const window = new RankingWindow(3)
  for (const rank of [1, 1, 1, Infinity, Infinity, 2]) window.add(rank)
  expect(window.report()).toMatchObject({ hr1: 0, hr5: 1 / 3, evaluated: 3, notFinite: 0 })
  window.add(NaN)
  expect(window.report()).toMatchObject({ hr5: 1 / 3, evaluated: 3, notFinite: 1 })
})

test('figures of a window are those of the ranks in it', () => {
  const window = new RankingWindow(50)
  const random = seededRandom(3)
  const ranks = Array.from({ length: 400 }, (_, i) =>
    i % 11 === 0 ? NaN : i % 7 === 0 ? Infinity : 1 + random.integer(240) / 2,
  )
  for (const [i, rank] of ranks.entries()) {
    window.add(rank)
    const metrics = new RankingMetrics()
    for (const kept of ranks.slice(Math.max(0, i - 49), i + 1)) metrics.add(kept)
    const expected = Object.entries(metrics.report())
    const found: Record<string, number> = window.report()
    for (const [figure, value] of expected) expect(found[figure]).toBeCloseTo(value, 12)
  }
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
