import { array, assert, integer, property } from 'fast-check'
import { expect, test } from 'vitest'

import { ExpiryHeap } from '../../src/serving/expiry-heap.ts'

test('what is due comes out, earliest first, and nothing else', () => {
  const times = array(integer({ min: 0, max: 100 }))
  assert(
    property(times, integer({ min: 0, max: 100 }), (list, now) => {
      const heap = new ExpiryHeap()
      for (const [handle, at] of list.entries()) heap.push(at, handle)
      const out: number[] = []
      for (let due = heap.shift(now); due !== undefined; due = heap.shift(now)) out.push(due.at)
      const due = list.filter((at) => at <= now).toSorted((a, b) => a - b)
      expect(out).toEqual(due)
      expect(heap.size).toBe(list.length - due.length)
    }),
  )
})
