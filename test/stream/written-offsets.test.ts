import { expect, test } from 'vitest'

import { joinOffsets, partitionOf, splitOffsets } from '../../src/stream/written-offsets.ts'

test('an offset says its partition, and is of the only one where it does not', () => {
  expect([partitionOf('17'), partitionOf('2:17'), partitionOf('2:17.3')]).toEqual([0, 2, 2])
  expect([partitionOf(''), partitionOf('next'), partitionOf('2:')]).toEqual([
    undefined,
    undefined,
    undefined,
  ])
})

test('a write stands at the last offset of each partition', () => {
  expect(joinOffsets(['1:1', '2:1', '1:2.4'])).toBe('1:2.4,2:1')
  expect(joinOffsets(['3', '4'])).toBe('4')
  expect(joinOffsets([])).toBeUndefined()
  expect(splitOffsets('1:2.4,2:1')).toEqual(['1:2.4', '2:1'])
})
