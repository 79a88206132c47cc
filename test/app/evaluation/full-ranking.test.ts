import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { rankAll } from '../../../src/app/evaluation/full-ranking.ts'

/** Candidates 0..n-1 score their own number to every query. */
const ladder = (n: number, questions: number) => ({
  queries: new Float32Array(questions).fill(1),
  candidates: Float32Array.from({ length: n }, (_, i) => i),
  dim: 1,
  heads: 1,
})
const none: ReadonlySet<number> = new Set()
const ask = (n: number, ...questions: Parameters<typeof rankAll>[1]) =>
  rankAll(ladder(n, questions.length), questions, 'reference')

describe('a rank', () => {
  test('counts the candidates that score higher', () => {
    const { ranks } = ask(20, { target: 19, masked: none }, { target: 0, masked: none })
    expect(ranks).toEqual([1, 20])
  })

  test('leaves masked candidates out', () => {
    expect(ask(20, { target: 10, masked: new Set([19, 18, 3]) }).ranks).toEqual([8])
  })

  test('of a masked or unknown target is a miss', () => {
    const { ranks } = ask(5, { target: 2, masked: new Set([2]) }, { target: -1, masked: none })
    expect(ranks).toEqual([Infinity, Infinity])
  })

  test('can be among given candidates alone', () => {
    expect(ask(100, { target: 50, masked: none, among: [3, 70, 80] }).ranks).toEqual([3])
  })

  test('ties at the mean of the tied places', () => {
    const vectors = {
      queries: new Float32Array([1]),
      candidates: new Float32Array(5),
      dim: 1,
      heads: 1,
    }
    expect(rankAll(vectors, [{ target: 2, masked: none }], 'reference').ranks).toEqual([3])
  })

  test('of a score that is no finite number is none, and such rivals are behind all others', () => {
    const candidates = new Float32Array([NaN, 3, Infinity, 2, -Infinity])
    const vectors = { queries: new Float32Array(5).fill(1), candidates, dim: 1, heads: 1 }
    const questions = [0, 1, 2, 3, 4].map((target) => ({ target, masked: none }))
    expect(rankAll(vectors, questions, 'reference').ranks).toEqual([NaN, 2, NaN, 3, NaN])
    // Eleven with a score and one without: the first ten of the list are all scored.
    const more = new Float32Array(12).fill(1).fill(NaN, 0, 1)
    const { coverage } = rankAll(
      { queries: new Float32Array([1]), candidates: more, dim: 1, heads: 1 },
      [{ target: 1, masked: none }],
      'reference',
    )
    expect(coverage).toBe(10 / 12)
  })

  test('of a query of several heads is by the best of them', () => {
    const candidates = new Float32Array([1, 0, 0, 1, 0.9, 0.9])
    const queries = new Float32Array([2, 0, 0, 1])
    const vectors = { queries, candidates, dim: 2, heads: 2 }
    // Scores 2, 1 and 1.8.
    const questions = [{ target: 1, masked: none }]
    expect(rankAll(vectors, questions, 'reference').ranks).toEqual([3])
  })

  test('is what sorting gives, for many queries', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 150 }), fc.integer({ min: 1, max: 30 }), (m, n) => {
        const questions = Array.from({ length: m }, (_, i) => ({ target: i % n, masked: none }))
        expect(rankAll(ladder(n, m), questions, 'reference').ranks).toEqual(
          questions.map(({ target }) => n - target),
        )
      }),
      { numRuns: 20 },
    )
  })
})

test('coverage is the share of candidates in anybody’s first ten', () => {
  expect(ask(40, { target: 0, masked: none }).coverage).toBe(0.25)
  expect(
    ask(40, { target: 0, masked: none }, { target: 0, masked: new Set([39, 38]) }).coverage,
  ).toBe(0.3)
  expect(ask(3, { target: 0, masked: none }).coverage).toBe(1)
})
