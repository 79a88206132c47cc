/** Keys of strings, and the distinct ones of a batch. */
import { array, assert, integer, property, string, tuple } from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Keys } from '../../src/base/keys.ts'
import { Arena } from '../../src/kernels/arena.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { KeyDeduper } from '../../src/kernels/key-deduper.ts'
import { KeyHasher } from '../../src/kernels/key-hasher.ts'

const implementations = ['wasm', 'reference'] as const
const hex = (keys: Keys): string[] =>
  Array.from({ length: keys.length / 2 }, (_, i) =>
    [keys[2 * i + 1], keys[2 * i]].map((word) => word.toString(16).padStart(8, '0')).join(''),
  )

describe.each(implementations)('in %s', (implementation) => {
  const prime32 = 2_654_435_761

  /** The bytes that xxHash's own sanity check hashes. */
  function sanityBuffer(length: number): Uint8Array {
    let generator = BigInt(prime32)
    return new Uint8Array(length).map(() => {
      const byte = Number(generator >> 56n)
      generator = (generator * 11_400_714_785_074_694_797n) % 2n ** 64n
      return byte
    })
  }

  test.each([
    [0, 0, 'ef46db3751d8e999'],
    [0, prime32, 'ac75fda2929b17ef'],
    [1, 0, 'e934a84adb052768'],
    [1, prime32, '5014607643a9b4c3'],
    [4, 0, '9136a0dca57457ee'],
    [14, 0, '8282dcc4994e35c8'],
    [14, prime32, 'c3bd6bf63deb6df0'],
    [222, 0, 'b641ae8cb691c174'],
    [222, prime32, '20cb8ab7ae10c14a'],
  ])('XXH64 of %i bytes under the seed %i is the official value', (length, seed, expected) => {
    const arena = new Arena(1 << 17)
    const kernels = loadKernels(arena, { implementation })
    const [bytes, offsets] = [arena.bytes(256), arena.words(2)]
    const [seeds, keys] = [arena.words(1), arena.words(2)]
    bytes.view.set(sanityBuffer(length))
    offsets.view.set([0, length])
    seeds.view[0] = seed
    kernels.hashKeys(keys.address, bytes.address, offsets.address, seeds.address, 1)
    expect(hex(keys.view)).toEqual([expected])
  })

  test('strings are hashed as UTF-8', () => {
    const hasher = new KeyHasher({ implementation })
    hasher.add(0, 'a')
    hasher.add(0, 'abc')
    hasher.add(0, 'Nobody inspects the spammish repetition')
    const expected = ['d24ec4f1a98c6e5b', '44bc2cf5ad770999', 'fbcea83c8a378bf1']
    expect(hex(hasher.finish())).toEqual(expected)
    hasher.add(0, 'é')
    const bytes = new TextEncoder().encode('é')
    expect([...bytes]).toEqual([0xc3, 0xa9])
    expect(hex(hasher.finish())).not.toEqual(expected.slice(0, 1))
  })

  test('a hasher with little room for staging gives the same keys', () => {
    const values = Array.from({ length: 3000 }, (_, i) => `värde-${i}-🎬`.repeat(1 + (i % 5)))
    const [large, small] = [
      new KeyHasher({ implementation }),
      new KeyHasher({ implementation, maxKeys: 3000, stagingBytes: 300 }),
    ]
    for (const value of values) {
      large.add(5, value)
      small.add(5, value)
    }
    expect(small.count).toBe(3000)
    const keys = small.finish()
    expect(keys).toEqual(large.finish())
    expect(new Set(hex(keys)).size).toBe(3000)
    expect(() => {
      small.add(5, 'x'.repeat(101))
    }).toThrow('fits the staging')
  })

  test('a hasher says when it was made for fewer keys', () => {
    const hasher = new KeyHasher({ implementation, maxKeys: 1 })
    hasher.add(1, 'a')
    expect(() => {
      hasher.add(1, 'b')
    }).toThrow('no more keys')
    hasher.finish()
    expect(hasher.count).toBe(0)
    expect(hasher.finish()).toHaveLength(0)
  })

  test('distinct keys come in order of first appearance', () => {
    const deduper = new KeyDeduper({ implementation, maxKeys: 100 })
    const keys = Uint32Array.of(5, 0, 0, 5, 5, 0, 0, 0, 5, 0, 0, 5)
    const { unique, inverse, occurrences } = deduper.dedupe(keys)
    expect([...unique]).toEqual([5, 0, 0, 5, 0, 0])
    expect([...inverse]).toEqual([0, 1, 0, 2, 0, 1])
    expect([...occurrences]).toEqual([3, 2, 1])
    expect(deduper.dedupe(new Uint32Array(0)).unique).toHaveLength(0)
  })
})

test('the hashing kernel gives the keys of its twin', () => {
  const [wasm, twin] = implementations.map((implementation) => new KeyHasher({ implementation }))
  const value = tuple(
    integer({ min: 0, max: 2 ** 32 - 1 }),
    string({ unit: 'binary', maxLength: 90 }),
  )
  assert(
    property(array(value, { maxLength: 40 }), (values) => {
      for (const hasher of [wasm, twin]) {
        for (const [seed, text] of values) hasher.add(seed, text)
      }
      expect(wasm.finish()).toEqual(twin.finish())
    }),
  )
})

test('the kernel that finds distinct keys agrees with its twin, and batches can be restored', () => {
  const [wasm, twin] = implementations.map(
    (implementation) => new KeyDeduper({ implementation, maxKeys: 200 }),
  )
  const batch = array(tuple(integer({ min: 0, max: 9 }), integer({ min: 0, max: 5 })), {
    maxLength: 200,
  })
  assert(
    property(batch, (pairs) => {
      const keys = Uint32Array.from(pairs.flat())
      const distinct = wasm.dedupe(keys)
      expect(distinct).toEqual(twin.dedupe(keys))
      const { unique, inverse, occurrences } = distinct
      const back = [...inverse].flatMap((i) => [unique[2 * i], unique[2 * i + 1]])
      expect(back).toEqual([...keys])
      expect(occurrences.reduce((sum, n) => sum + n, 0)).toBe(pairs.length)
      expect(new Set(hex(unique)).size).toBe(unique.length / 2)
    }),
  )
})
