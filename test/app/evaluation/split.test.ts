import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { parseSplit, permutation, split } from '../../../src/app/evaluation/split.ts'

const rows = (n: number) =>
  Array.from({ length: n }, (_, i) => ({
    userId: `u${i % 3}`,
    itemId: `i${i % 4}`,
    timestamp: (i * 7) % 10,
    line: i,
  }))
const twoUsers = [
  { userId: 'a', itemId: 'x', timestamp: 1, line: 0 },
  { userId: 'a', itemId: 'y', timestamp: 1, line: 1 },
  { userId: 'b', itemId: 'x', timestamp: 9, line: 2 },
  { userId: 'b', itemId: 'y', timestamp: 3, line: 3 },
]
const lines = (part: readonly { line: number }[]) => part.map(({ line }) => line)

describe('the name of a split', () => {
  test.each([
    ['random:80/20:42', { kind: 'random', train: 80, test: 20, seed: 42 }],
    ['random:80/20', { kind: 'random', train: 80, test: 20, seed: 42 }],
    ['temporal:0.8', { kind: 'temporal', share: 0.8 }],
    ['temporal:.5', { kind: 'temporal', share: 0.5 }],
    ['leave-one-out', { kind: 'leave-one-out', dropped: 0 }],
    ['leave-one-out:1', { kind: 'leave-one-out', dropped: 1 }],
    ['given', { kind: 'given' }],
  ])('%s is understood', (text, spec) => {
    expect(parseSplit(text)).toEqual(spec)
  })

  test.each(['', 'random', 'random:0/5:1', 'random:5/5:x', 'temporal:0', 'temporal:1.5', 'leave'])(
    '"%s" is refused',
    (text) => {
      expect(() => parseSplit(text)).toThrow(/--split: expected random:TRAIN\/TEST:SEED/)
    },
  )
})

describe('a permutation', () => {
  test('holds every number once and depends on the seed', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(), (n, seed) => {
        const order = permutation(n, seed)
        expect([...order].toSorted((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i))
        expect(permutation(n, seed)).toEqual(order)
      }),
    )
    expect(permutation(50, 1)).not.toEqual(permutation(50, 2))
  })
})

describe('the parts of a split', () => {
  test('a random split takes what was asked, no line twice, in the order of the file', () => {
    const { train, test: held } = split(rows(10), parseSplit('random:6/3:1'))
    expect([train.length, held.length]).toEqual([6, 3])
    expect(new Set([...lines(train), ...lines(held)]).size).toBe(9)
    expect(lines(train)).toEqual(lines(train).toSorted((a, b) => a - b))
  })

  test('a random split of more than there is is refused', () => {
    expect(() => split(rows(5), parseSplit('random:5/1:1'))).toThrow(/5 \+ 1 wanted/)
  })

  test('a temporal split asks for what is later', () => {
    const { train, test: held } = split(rows(10), parseSplit('temporal:0.7'))
    expect(train).toHaveLength(7)
    const latest = Math.max(...train.map(({ timestamp }) => timestamp))
    expect(held.every(({ timestamp }) => timestamp >= latest)).toBe(true)
  })

  test('leave-one-out asks for the last of every user, the later line of a tie', () => {
    const { train, test: held } = split(twoUsers, parseSplit('leave-one-out'))
    expect(lines(held).toSorted((a, b) => a - b)).toEqual([1, 2])
    expect(lines(train)).toEqual([0, 3])
  })

  test('with one dropped the one before the last is asked for, the last left out', () => {
    const one = { userId: 'b', itemId: 'x', timestamp: 1, line: 9 }
    const { train, test: held } = split([...twoUsers, one], parseSplit('leave-one-out:1'))
    expect(lines(held).toSorted((a, b) => a - b)).toEqual([0, 3])
    expect(lines(train)).toEqual([9])
  })

  test('given pairs are asked for, wherever they stand', () => {
    const given = [{ userId: 'a', itemId: 'x' }]
    const { train, test: held } = split(twoUsers, parseSplit('given'), given)
    expect(lines(held)).toEqual([0])
    expect(lines(train).toSorted((a, b) => a - b)).toEqual([1, 2, 3])
  })
})
