import { array, assert, integer, property, record, uniqueArray } from 'fast-check'
import { describe, expect, test } from 'vitest'

import { admissionOf } from '../../../src/embedding/admission/admission-policies.ts'
import type { Admission } from '../../../src/embedding/admission/admission.ts'
import { bloomSize } from '../../../src/embedding/admission/counting-bloom-admission.ts'
import type { AdmissionSpec } from '../../../src/embedding/table-spec.ts'
import { keysOf, randomKeys, range } from '../../support/tables.ts'

const minCount = (count: number, capacityKeys = 4096): AdmissionSpec => ({
  kind: 'minCount',
  count,
  capacityKeys,
})

const bloom = (capacityKeys: number, falsePositiveRate = 0.01): AdmissionSpec => ({
  kind: 'countingBloom',
  count: 3,
  falsePositiveRate,
  capacityKeys,
})

function policy(spec: AdmissionSpec, seed = 0): Admission {
  const admission = admissionOf({ admission: spec, seed })
  expect(admission).toBeDefined()
  return admission as Admission
}

/** The ids of a batch that earn a row. */
function admit(
  admission: Admission,
  ids: readonly number[],
  { occurrences = 1, version = 1 } = {},
): number[] {
  const admitted = new Uint8Array(ids.length)
  const counts = new Uint32Array(ids.length).fill(occurrences)
  admission.admit({ keys: keysOf(...ids), occurrences: counts, version }, admitted)
  return ids.filter((_, i) => admitted[i] === 1)
}

test('where every key earns a row there is no policy', () => {
  expect(admissionOf({})).toBeUndefined()
  expect(admissionOf({ admission: { kind: 'always' } })).toBeUndefined()
})

describe('minCount', () => {
  test('a key earns a row at its third occurrence', () => {
    const admission = policy(minCount(3))
    expect(admit(admission, [1, 2])).toEqual([])
    expect(admit(admission, [1])).toEqual([])
    expect(admit(admission, [1, 2])).toEqual([1])
    expect(admit(admission, [2])).toEqual([2])
    expect(admission.stats()).toMatchObject({ admitted: 2, refused: 4, falsePositiveRate: 0 })
  })

  test('occurrences of one batch count each', () => {
    expect(admit(policy(minCount(3)), [1], { occurrences: 3 })).toEqual([1])
    expect(admit(policy(minCount(3)), [1], { occurrences: 2 })).toEqual([])
  })

  test('a key that lost its row starts from nothing', () => {
    const admission = policy(minCount(2))
    admit(admission, [1])
    expect(admit(admission, [1])).toEqual([1])
    expect(admit(admission, [1])).toEqual([])
    expect(admit(admission, [1])).toEqual([1])
  })

  test('counters are bounded, and a key is forgotten only after half of them were others', () => {
    const admission = policy(minCount(2, 4096))
    admit(admission, [100_001])
    admit(admission, range(0, 2000))
    expect(admit(admission, [100_001])).toEqual([100_001])
    admit(admission, [100_002])
    for (let from = 10_000; from < 30_000; from += 500) admit(admission, range(from, from + 500))
    expect(admission.stats().tracked).toBeLessThanOrEqual(4096)
    expect(admit(admission, [100_002])).toEqual([])
  })

  test('keys that come again are not forgotten, however many others come once', () => {
    const admission = policy(minCount(30, 4096))
    const seen: number[] = []
    for (let n = 0; n < 30; n += 1) {
      seen.push(...admit(admission, [7]))
      admit(admission, range(1000 * (n + 1), 1000 * (n + 2)))
    }
    expect(seen).toEqual([7])
  })

  test('it counts as a Map does, as long as the Map is no larger than it', () => {
    const batch = record({
      ids: uniqueArray(integer({ min: 0, max: 60 }), { maxLength: 20 }),
      occurrences: integer({ min: 1, max: 3 }),
    })
    assert(
      property(array(batch, { maxLength: 40 }), integer({ min: 1, max: 6 }), (batches, count) => {
        let admission = policy(minCount(count))
        const seen = new Map<number, number>()
        for (const { ids, occurrences } of batches) {
          const expected = ids.filter((id) => (seen.get(id) ?? 0) + occurrences >= count)
          expect(admit(admission, ids, { occurrences })).toEqual(expected)
          for (const id of ids) seen.set(id, (seen.get(id) ?? 0) + occurrences)
          for (const id of expected) seen.delete(id)
          const restored = policy(minCount(count))
          restored.load(admission.serialize())
          admission = restored
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('countingBloom', () => {
  test('no key waits longer than for its third occurrence', () => {
    const admission = policy(bloom(2000))
    const ids = range(0, 1000)
    const early = [admit(admission, ids), admit(admission, ids)]
    const due = new Set([...early.flat(), ...admit(admission, ids)])
    expect(due.size).toBe(1000)
    expect(early[0].length).toBe(0)
  })

  test.each([2, 3, 4, 15, 16, 255])('cells of any width count to %i', (count) => {
    const admission = policy({ ...bloom(100), kind: 'countingBloom', count } as AdmissionSpec)
    for (let n = 1; n < count; n += 1) expect(admit(admission, [1, 2, 3])).toEqual([])
    expect(admit(admission, [1, 2, 3])).toEqual([1, 2, 3])
    expect(admit(admission, [4], { occurrences: 1000 })).toEqual([4])
  })

  test('few keys come too early, as many as were allowed, and the estimate says so', () => {
    const n = 5000
    const admission = policy(bloom(n, 0.02))
    const twice = randomKeys(1, n)
    const counts = new Uint32Array(n).fill(2)
    admission.admit({ keys: twice, occurrences: counts, version: 1 }, new Uint8Array(n))
    const estimate = admission.stats().falsePositiveRate
    expect(estimate).toBeGreaterThan(0.002)
    expect(estimate).toBeLessThan(0.02)
    // Not counted: a copy is asked.
    const copy = policy(bloom(n, 0.02))
    copy.load(admission.serialize())
    const once = new Uint32Array(2000).fill(1)
    const admitted = new Uint8Array(2000)
    copy.admit({ keys: randomKeys(2, 2000), occurrences: once, version: 1 }, admitted)
    const wrong = admitted.reduce((sum, bit) => sum + bit, 0) / 2000
    expect(wrong).toBeLessThan(0.02)
  })

  test('an endless stream of new keys does not fill it', () => {
    const admission = policy(bloom(1000))
    let early = 0
    for (let from = 0; from < 40_000; from += 500) {
      early += admit(admission, range(from, from + 500)).length
    }
    expect(early / 40_000).toBeLessThan(0.01)
    expect(admission.stats().falsePositiveRate).toBeLessThan(0.02)
    expect(admission.stats().tracked).toBeLessThanOrEqual(2000)
  })

  test('its size is Bloom’s optimum', () => {
    expect(bloomSize(1000, 0.01)).toEqual({ cells: 9586, hashes: 7 })
    expect(bloomSize(1_000_000, 0.001)).toEqual({ cells: 14_377_588, hashes: 10 })
  })

  test('what another filter wrote is refused', () => {
    const bytes = policy(bloom(1000)).serialize()
    expect(() => policy(bloom(2000)).load(bytes)).toThrow(RangeError)
  })
})

describe('probabilistic', () => {
  const chance = { kind: 'probabilistic', probability: 0.1 } as const

  test('a tenth of the occurrences is admitted', () => {
    const n = 20_000
    expect(admit(policy(chance), range(0, n)).length / n).toBeCloseTo(0.1, 2)
    const ten = admit(policy(chance), range(0, n), { occurrences: 10 }).length / n
    expect(ten).toBeCloseTo(1 - 0.9 ** 10, 1)
  })

  test('draws depend on key, seed and version alone', () => {
    const ids = range(0, 1000)
    const first = admit(policy(chance), ids)
    expect(admit(policy(chance), ids.toReversed()).toReversed()).toEqual(first)
    expect(admit(policy(chance), ids, { version: 2 })).not.toEqual(first)
    expect(admit(policy(chance, 1), ids)).not.toEqual(first)
  })

  test('with probability 1 every key is admitted', () => {
    const all = { kind: 'probabilistic', probability: 1 } as const
    expect(admit(policy(all), range(0, 1000))).toHaveLength(1000)
  })
})

describe.each([
  minCount(3, 3000),
  { kind: 'countingBloom', count: 3, falsePositiveRate: 0.05, capacityKeys: 500 },
  { kind: 'probabilistic', probability: 0.3 },
] satisfies AdmissionSpec[])('$kind over a restart', (spec) => {
  test('nothing is forgotten: it goes on as one that was never saved', () => {
    const plain = policy(spec)
    let restored = policy(spec)
    for (let n = 0; n < 40; n += 1) {
      const keys = randomKeys(n % 9, 300)
      const occurrences = new Uint32Array(300).map((_, i) => 1 + (i % 2))
      const [a, b] = [new Uint8Array(300), new Uint8Array(300)]
      plain.admit({ keys, occurrences, version: n }, a)
      restored.admit({ keys, occurrences, version: n }, b)
      expect(b).toEqual(a)
      const again = policy(spec)
      again.load(restored.serialize())
      restored = again
    }
    expect(restored.serialize()).toEqual(plain.serialize())
  })
})
