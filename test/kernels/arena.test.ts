import { array, assert, constantFrom, integer, property, tuple } from 'fast-check'
import { expect, test } from 'vitest'

import { Arena } from '../../src/kernels/arena.ts'

const kinds = constantFrom('floats' as const, 'ints' as const, 'words' as const, 'bytes' as const)
const alignments = constantFrom(4, 16, 64, 4096)

test('blocks are aligned, zero, inside the memory and apart', () => {
  const requests = array(tuple(kinds, integer({ min: 0, max: 300 }), alignments), { maxLength: 12 })
  assert(
    property(requests, (wanted) => {
      const arena = new Arena(1 << 17)
      let end = 1
      for (const [kind, length, alignment] of wanted) {
        const { address, view } = arena[kind](length, alignment)
        expect(view).toHaveLength(length)
        expect(view.every((value) => value === 0)).toBe(true)
        expect(address % alignment).toBe(0)
        expect(view.byteOffset).toBe(address)
        expect(address).toBeGreaterThanOrEqual(end)
        end = address + view.byteLength
        view.fill(1)
      }
      expect(arena.usedBytes).toBeGreaterThanOrEqual(end - 1)
    }),
    { numRuns: 30 },
  )
})

test('no block has the address that means absent', () => {
  expect(new Arena(1).bytes(1).address).toBeGreaterThan(0)
})

test('a block that does not fit is refused and takes nothing', () => {
  const arena = new Arena(65_536)
  const { usedBytes } = arena
  expect(() => arena.bytes(arena.capacityBytes)).toThrow(
    expect.objectContaining({ code: 'MEMORY_EXHAUSTED' }),
  )
  expect(arena.usedBytes).toBe(usedBytes)
  expect(arena.bytes(60_000).view).toHaveLength(60_000)
})

test('an arena has as many bytes as were asked for, up to what 32 bits address', () => {
  const arena = new Arena(65_536)
  expect(arena.capacityBytes - arena.usedBytes).toBeGreaterThanOrEqual(65_536)
  expect(() => new Arena(2 ** 32)).toThrow('an arena of')
  expect(() => new Arena(0)).toThrow('an arena of')
})
