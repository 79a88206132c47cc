import { setImmediate as nextTurn } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { Turns } from '../../src/serving/turns.ts'

/** Tasks that ask for so many turns, and who had each turn of the loop; `ms`: what one takes. */
async function hadBy(tasks: Readonly<Record<string, number>>, ms: number) {
  let now = 0
  const turns = new Turns({ monotonic: () => now })
  const had: string[] = []
  const atWork = new Set<string>()
  const work = async (name: string, pieces: number): Promise<void> => {
    for (let i = 0; i < pieces; i += 1) {
      await turns.next()
      atWork.add(name)
      await Promise.resolve()
      expect([...atWork]).toEqual([name])
      atWork.delete(name)
      had.push(name)
    }
  }
  const all = Object.entries(tasks).map(([name, pieces]) => work(name, pieces))
  const pieces = Object.values(tasks).reduce((sum, some) => sum + some, 0)
  const seen: string[][] = []
  while (seen.flat().length < pieces) {
    now += ms
    await nextTurn()
    seen.push(had.splice(0))
  }
  await Promise.all(all)
  return seen.filter((names) => names.length > 0).map((names) => names.join(' '))
}

test('of those who ask at once each has a turn of its own, in the order in which they asked', async () => {
  expect(await hadBy({ a: 3, b: 1, c: 2 }, 1)).toEqual(['a', 'b', 'c', 'a', 'c', 'a'])
})

test('a long turn is followed by one with several pieces of work, one after the other', async () => {
  const turns = await hadBy({ a: 20, b: 20 }, 20)
  expect(turns.join(' ').split(' ')).toEqual(Array.from({ length: 40 }, (_, i) => 'ab'[i % 2]))
  expect(turns.length).toBeGreaterThanOrEqual(8)
  expect(turns.length).toBeLessThan(12)
})

test('what else waits for the loop comes between two turns', async () => {
  const turns = new Turns({ monotonic: () => 0 })
  const order: string[] = []
  const background = (async () => {
    for (let i = 0; i < 3; i += 1) {
      await turns.next()
      order.push('background')
    }
  })()
  const request = (async () => {
    await nextTurn()
    order.push('request')
  })()
  await Promise.all([background, request])
  expect(order.indexOf('request')).toBeLessThan(3)
})
