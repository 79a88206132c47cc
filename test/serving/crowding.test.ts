import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import type { SearchResult } from '../../src/ann/ann-index.ts'
import { uncrowded } from '../../src/serving/crowding.ts'

interface Candidate {
  readonly score: number
  readonly tag: string | undefined
}

const candidate = fc.record({
  score: fc.integer({ min: 0, max: 9 }),
  tag: fc.constantFrom(undefined, 'a', 'b', 'c'),
})

/** What a person would do: go down the whole list. */
function byHand(candidates: readonly Candidate[], perTag: number, k: number): number[] {
  const counts = new Map<string, number>()
  return [...candidates.keys()]
    .toSorted((a, b) => candidates[b].score - candidates[a].score || a - b)
    .filter((handle) => {
      const { tag } = candidates[handle]
      if (tag === undefined) return true
      counts.set(tag, (counts.get(tag) ?? 0) + 1)
      return (counts.get(tag) ?? 0) <= perTag
    })
    .slice(0, k)
}

test('an answer is what going down the whole list gives, in few searches', () => {
  fc.assert(
    fc.property(
      fc.array(candidate, { maxLength: 60 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 20 }),
      (candidates, perTag, k) => {
        const hidden = new Set<number>()
        let searches = 0
        const search = (n: number): SearchResult => {
          searches += 1
          const best = [...candidates.keys()]
            .filter((handle) => !hidden.has(handle))
            .toSorted((a, b) => candidates[b].score - candidates[a].score || a - b)
          return {
            ids: Int32Array.from({ length: n }, (_, i) => best[i] ?? -1),
            scores: Float32Array.from({ length: n }, (_, i) =>
              i < best.length ? candidates[best[i]].score : -Infinity,
            ),
          }
        }
        const found = uncrowded(search(k), {
          perTag,
          k,
          tagOf: (handle) => candidates[handle].tag,
          hide: (handle) => hidden.add(handle),
          hideTag: (tag) =>
            candidates.forEach((one, handle) => one.tag === tag && hidden.add(handle)),
          search,
        })
        expect([...found.ids].filter((id) => id >= 0)).toEqual(byHand(candidates, perTag, k))
        expect(searches).toBeLessThanOrEqual(5)
      },
    ),
  )
})
