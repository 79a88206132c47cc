import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { TokenIndex } from '../../src/serving/token-index.ts'

const value = fc.oneof(
  fc.constantFrom('a', 'b', 'c', 'x'.repeat(200)),
  fc.constantFrom(1, 2),
  fc.boolean(),
  fc.array(fc.constantFrom('a', 'b', 'c')),
  fc.constant(null),
)
const fields = fc.dictionary(fc.constantFrom('p', 'q', '__proto__'), value)
const entry = fc.record({ handle: fc.nat(99), features: fields, attributes: fields })
const tokens = fc.dictionary(
  fc.constantFrom('p', 'q', 'r'),
  fc.array(fc.constantFrom('a', 'b', '1', 'true')),
)

const textsOf = (one: unknown): string[] => {
  const list: unknown[] = Array.isArray(one) ? one : [one]
  return list.filter((part) => part !== null).map(String)
}

test('a filter keeps exactly the items that meet it, whatever came and went', () => {
  fc.assert(
    fc.property(
      fc.array(entry),
      fc.array(fc.nat(99)),
      tokens,
      tokens,
      (added, removed, allow, deny) => {
        const index = new TokenIndex()
        const items = new Map<number, (typeof added)[number]>()
        const leave = (handle: number): void => {
          const known = items.get(handle)
          if (known !== undefined) index.remove(known as never)
          items.delete(handle)
        }
        for (const one of added) {
          leave(one.handle)
          index.add(one as never)
          items.set(one.handle, one)
        }
        for (const handle of removed) leave(handle)

        const bitmap = new Uint32Array(4).fill(0xffff_ffff)
        index.apply({ allow, deny }, bitmap, new Uint32Array(4))
        const has = (
          one: (typeof added)[number],
          [namespace, values]: [string, string[]],
        ): boolean =>
          [one.features, one.attributes].some((source) =>
            Object.entries(source).some(
              ([name, held]) =>
                name === namespace && textsOf(held).some((text) => values.includes(text)),
            ),
          )
        for (const [handle, one] of items) {
          const isKept = ((bitmap[handle >> 5] >>> (handle & 31)) & 1) === 1
          const expected =
            Object.entries(allow).every((part) => has(one, part)) &&
            !Object.entries(deny).some((part) => has(one, part))
          expect(isKept).toBe(expected)
        }
      },
    ),
  )
})
