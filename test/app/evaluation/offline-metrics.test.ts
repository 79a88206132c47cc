import { expect, test } from 'vitest'

import { offlineMetrics } from '../../../src/app/evaluation/offline-metrics.ts'

test('one user with hits at 1 and 3 and a miss', () => {
  const metrics = offlineMetrics(
    [1, 3, Infinity].map((rank) => ({ userId: 'u', rank })),
    0.25,
  )
  expect(metrics).toMatchObject({
    hr1: 1 / 3,
    hr5: 2 / 3,
    hr100: 2 / 3,
    recall20: 2 / 3,
    recall1: 1 / 3,
  })
  expect(metrics['precision10']).toBeCloseTo(0.2)
  expect(metrics['map10']).toBeCloseTo((1 + 2 / 3) / 3)
  expect(metrics['mrr10']).toBeCloseTo((1 + 1 / 3) / 3)
  expect(metrics['ndcg10']).toBeCloseTo((1 + 1 / 2) / 3)
  expect(metrics['coverage']).toBe(0.25)
})

test('recall is a mean over users, hits are over interactions', () => {
  const metrics = offlineMetrics(
    [
      { userId: 'a', rank: 1 },
      { userId: 'b', rank: 50 },
      { userId: 'b', rank: 60 },
      { userId: 'b', rank: 15 },
    ],
    0,
  )
  expect(metrics).toMatchObject({
    hr10: 0.25,
    hr20: 0.5,
    recall20: (1 + 1 / 3) / 2,
    mrr20: (1 + 1 / 15) / 4,
  })
})

test('nothing ranked is nothing found', () => {
  expect(offlineMetrics([], 0)).toMatchObject({ hr10: 0, map10: 0, recall20: 0 })
})
