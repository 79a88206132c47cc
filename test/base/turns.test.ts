import { setImmediate as nextTurn } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { backgroundTurn } from '../../src/base/turns.ts'

test('of those who ask at once each has a turn of its own, in the order in which they asked', async () => {
  const had: string[] = []
  const work = async (name: string, turns: number): Promise<void> => {
    for (let i = 0; i < turns; i += 1) {
      await backgroundTurn()
      had.push(name)
    }
  }
  const all = [work('a', 3), work('b', 1), work('c', 2)]
  const seen: string[][] = []
  while (seen.length < 6) {
    await nextTurn()
    seen.push(had.splice(0))
  }
  await Promise.all(all)
  expect(seen).toEqual([['a'], ['b'], ['c'], ['a'], ['c'], ['a']])
})

test('what else waits for the loop comes between two turns', async () => {
  const order: string[] = []
  const background = (async () => {
    for (let i = 0; i < 3; i += 1) {
      await backgroundTurn()
      order.push('background')
    }
  })()
  const request = (async () => {
    await nextTurn()
    await nextTurn()
    order.push('request')
  })()
  await Promise.all([background, request])
  expect(order.indexOf('request')).toBeGreaterThan(0)
  expect(order.indexOf('request')).toBeLessThan(3)
})
