import { array, assert, integer, oneof, constant, property } from 'fast-check'
import { expect, test } from 'vitest'

import { HandleQueue } from '../../src/serving/handle-queue.ts'

test('it is a queue in which everything stands once', () => {
  const steps = array(oneof(integer({ min: 0, max: 3000 }), constant('shift' as const)), {
    maxLength: 4000,
    size: 'max',
  })
  assert(
    property(steps, (history) => {
      const queue = new HandleQueue()
      const model: number[] = []
      const [out, expected]: [number[], number[]] = [[], []]
      for (const step of history) {
        if (step === 'shift') {
          out.push(queue.shift())
          expected.push(model.shift() ?? -1)
        } else {
          queue.push(step)
          if (!model.includes(step)) model.push(step)
        }
        expect(queue.size).toBe(model.length)
      }
      expect(out).toEqual(expected)
      expect(queue.pushed - queue.shifted).toBe(model.length)
    }),
    { numRuns: 30 },
  )
})

test('it grows in the middle of its ring', () => {
  const queue = new HandleQueue()
  for (let i = 0; i < 1000; i += 1) queue.push(i)
  for (let i = 0; i < 600; i += 1) queue.shift()
  for (let i = 1000; i < 3000; i += 1) queue.push(i)
  for (let i = 600; i < 3000; i += 1) expect(queue.shift()).toBe(i)
  expect(queue.shift()).toBe(-1)
})
