import fc from 'fast-check'
import { expect, test } from 'vitest'

import { type Answer, Experiment, rateOf } from '../../../src/serving/versions/experiment.ts'

const windowMs = 1_000

const answer = (number: number, fields: Partial<Answer> = {}): Answer => ({
  number,
  requestId: `r${number}`,
  user: 'u',
  version: 'a',
  items: ['x', 'y', 'z'],
  at: number,
  ...fields,
})

const make = (maxAnswers = 1_000) => new Experiment({ windowMs, maxAnswers })

test('an interaction counts for the newest answer that had the item', () => {
  const experiment = make()
  experiment.answered(answer(1, { version: 'a' }))
  experiment.answered(answer(2, { version: 'b', items: ['y', 'w'] }))
  expect(experiment.taken({ user: 'u', itemId: 'y', at: 10 })).toEqual({
    answer: 2,
    requestId: 'r2',
    version: 'b',
    rank: 1,
    isFirst: true,
  })
  expect(experiment.taken({ user: 'u', itemId: 'z', at: 11 })).toMatchObject({
    version: 'a',
    rank: 3,
    isFirst: true,
  })
  expect(experiment.taken({ user: 'u', itemId: 'w', at: 12 })).toMatchObject({
    version: 'b',
    rank: 2,
    isFirst: false,
  })
  const missed = experiment.taken({ user: 'u', itemId: 'q', at: 13 })
  expect(missed).toEqual({ answer: 2, requestId: 'r2', version: 'b', isFirst: false })
  expect(experiment.totals()).toEqual({
    a: { answers: 1, answersTaken: 1, interactions: 1, hits: 1 },
    b: { answers: 1, answersTaken: 1, interactions: 3, hits: 2 },
  })
})

test('what comes before an answer, long after it, or from somebody else says nothing of it', () => {
  const experiment = make()
  experiment.answered(answer(5))
  expect(experiment.taken({ user: 'u', itemId: 'x', at: 4 })).toBeUndefined()
  expect(experiment.taken({ user: 'u', itemId: 'x', at: 5 + windowMs })).toBeUndefined()
  expect(experiment.taken({ user: 'v', itemId: 'x', at: 6 })).toBeUndefined()
  expect(experiment.taken({ user: 'u', itemId: 'x', at: 4 + windowMs })).toMatchObject({ rank: 1 })
})

test('nothing is kept of a user that is gone', () => {
  const experiment = make()
  experiment.answered(answer(1))
  experiment.answered(answer(2, { user: 'v' }))
  experiment.forget('u')
  expect(experiment.taken({ user: 'u', itemId: 'x', at: 3 })).toBeUndefined()
  expect(experiment.newest(9).map(({ user }) => user)).toEqual(['v'])
  expect(experiment.taken({ user: 'v', itemId: 'x', at: 3 })).toMatchObject({ answer: 2 })
})

test('no more answers are kept than may be, and those that leave early are counted', () => {
  const experiment = make(3)
  for (let i = 1; i <= 20; i += 1) experiment.answered(answer(i, { user: `u${i % 7}` }))
  expect(experiment.newest(9).map(({ number }) => number)).toEqual([20, 19, 18])
  expect(experiment.forgotten).toBe(17)
  expect(experiment.newest(9, ({ requestId }) => requestId === 'r19')).toHaveLength(1)
  expect(experiment.totals()['a']).toMatchObject({ answers: 20 })
})

/** A slow and obvious count of the same. */
function counted(
  answers: readonly Answer[],
  clicks: readonly (readonly [string, string, number])[],
) {
  const taken = new Set<number>()
  let [interactions, hits] = [0, 0]
  for (const [user, item, at] of clicks) {
    const own = answers.filter((one) => one.user === user && one.at <= at && one.at > at - windowMs)
    if (own.length === 0) continue
    interactions += 1
    const hit = own.findLast(({ items }) => items.includes(item))
    if (hit === undefined) continue
    hits += 1
    taken.add(hit.number)
  }
  return { answers: answers.length, answersTaken: taken.size, interactions, hits }
}

test('counts are those of a plain join over answers and interactions', () => {
  const user = fc.constantFrom('u', 'v', 'w')
  const item = fc.constantFrom('x', 'y', 'z', 'q')
  const given = fc.array(fc.tuple(user, fc.uniqueArray(item, { maxLength: 3 }), fc.nat(400)))
  const done = fc.array(fc.tuple(user, item, fc.nat(400)))
  fc.assert(
    fc.property(given, done, (lists, steps) => {
      let now = 0
      const answers = lists.map(([whose, items, ms], i) =>
        answer(i + 1, { user: whose, items, at: (now += ms) }),
      )
      now = 0
      const clicks = steps.map(([whose, what, ms]) => [whose, what, (now += ms)] as const)
      const experiment = make()
      for (const one of answers) experiment.answered(one)
      for (const [whose, itemId, at] of clicks) experiment.taken({ user: whose, itemId, at })
      const none = { answers: 0, answersTaken: 0, interactions: 0, hits: 0 }
      expect(experiment.totals()['a'] ?? none).toEqual(counted(answers, clicks))
    }),
  )
})

test('a rate has the interval of Wilson', () => {
  // R: prop.test(30, 100, correct = FALSE)
  const { value, low, high } = rateOf(30, 100)
  expect([value, low, high].map((x) => x.toFixed(4))).toEqual(['0.3000', '0.2189', '0.3958'])
  expect(rateOf(0, 0)).toEqual({ value: 0, low: 0, high: 1 })
  expect(rateOf(0, 10).low).toBe(0)
})
