import { array, assert, integer, oneof, property, record, constant } from 'fast-check'
import { expect, test } from 'vitest'

import { VectorAges } from '../../src/serving/vector-ages.ts'

const handles = 12
const aHandle = integer({ min: 0, max: handles - 1 })
const steps = array(
  oneof(
    record({ verb: constant('embedded' as const), handle: aHandle, version: integer() }),
    record({ verb: constant('remove' as const), handle: aHandle }),
    record({ verb: constant('move' as const), handle: aHandle }),
  ),
  { maxLength: 60 },
)

const inOrder = (ages: VectorAges): number[] => {
  const all: number[] = []
  for (let at = ages.oldest; at >= 0; at = ages.after(at)) all.push(at)
  return all
}

test('vectors stand in the order in which they were embedded, with their versions', () => {
  assert(
    property(steps, (all) => {
      const versions = new Float64Array(handles).fill(-1)
      const ages = new VectorAges(versions, [3, 1])
      let expected = [3, 1]
      const moved = new Set<number>()
      const latest = new Map<number, number>()
      for (const step of all) {
        const { handle } = step
        if (step.verb === 'move') {
          if (!expected.includes(handle)) continue
          ages.move(handle)
          moved.add(handle)
          continue
        }
        expected = expected.filter((other) => other !== handle)
        moved.delete(handle)
        if (step.verb === 'remove') ages.remove(handle)
        else {
          ages.embedded(handle, step.version)
          expected.push(handle)
          latest.set(handle, step.version)
        }
      }
      expect(inOrder(ages)).toEqual(expected)
      for (const [handle, version] of latest) expect(ages.versionOf(handle)).toBe(version)
      const isMoved = expected.filter((handle) => ages.isMoved(handle))
      expect(isMoved).toEqual(expected.filter((handle) => moved.has(handle)))
    }),
  )
})

test('one that has gone is not there, and the first of all is the oldest', () => {
  const ages = new VectorAges(new Float64Array(3), [])
  expect(ages.oldest).toBe(-1)
  ages.embedded(0, 1)
  expect([ages.oldest, ages.after(0)]).toEqual([0, -1])
  ages.embedded(2, 1)
  ages.embedded(0, 2)
  expect(inOrder(ages)).toEqual([2, 0])
  ages.remove(2)
  ages.remove(1)
  expect(inOrder(ages)).toEqual([0])
})
