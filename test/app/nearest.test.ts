import fc from 'fast-check'
import { expect, test } from 'vitest'

import { editDistance, nearest, suggestion } from '../../src/app/nearest.ts'

test.each([
  ['', '', 0],
  ['port', 'port', 0],
  ['prot', 'port', 1],
  ['por', 'port', 1],
  ['sport', 'port', 1],
  ['kitten', 'sitting', 3],
])('%s and %s are %i apart', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance)
})

test('distance is symmetric and bounded by the longer word', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
      const distance = editDistance(a, b)
      expect(distance).toBe(editDistance(b, a))
      expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length))
      expect(distance === 0).toBe(a === b)
    }),
  )
})

test('the nearest name is found, and none where all are far', () => {
  expect(nearest('capacityRow', ['name', 'capacityRows'])).toBe('capacityRows')
  expect(nearest('zzzzzz', ['name', 'dim'])).toBeUndefined()
  expect(suggestion('PORT', ['port'])).toBe('; did you mean "port"?')
  expect(suggestion('zzzzzz', ['port'])).toBe('')
})
