import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { NumberIndex } from '../../src/serving/number-index.ts'
import type { NumericRestrict } from '../../src/serving/recommendation.ts'

const number = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom(0.5, -0, 1e300, 5e-324))
const value = fc.oneof(number, fc.constantFrom('1', true, null, Number.NaN, [1]))
const fields = fc.dictionary(fc.constantFrom('p', 'q', '__proto__'), value)
const entry = fc.record({ handle: fc.nat(3000), features: fields, attributes: fields })
const restrict = fc.record(
  { eq: number, lt: number, lte: number, gt: number, gte: number },
  { requiredKeys: [] },
)
const restricts = fc.dictionary(fc.constantFrom('p', 'q', 'r'), restrict, { maxKeys: 2 })

type Entry = typeof entry extends fc.Arbitrary<infer Value> ? Value : never

function meets(item: Entry, name: string, bounds: NumericRestrict): boolean {
  const { eq, lt, lte, gt, gte } = bounds
  const fieldsOf = { ...item.features, ...finite(item.attributes) }
  const one = Object.hasOwn(fieldsOf, name) ? fieldsOf[name] : undefined
  if (typeof one !== 'number' || !Number.isFinite(one)) return false
  return (
    (eq === undefined || one === eq) &&
    (lt === undefined || one < lt) &&
    (lte === undefined || one <= lte) &&
    (gt === undefined || one > gt) &&
    (gte === undefined || one >= gte)
  )
}

const finite = (all: Entry['attributes']): Entry['attributes'] =>
  Object.fromEntries(Object.entries(all).filter(([, one]) => Number.isFinite(one)))

test('restricts keep exactly the items that meet them, whatever came and went', () => {
  fc.assert(
    fc.property(fc.array(entry), fc.array(fc.nat(3000)), restricts, (added, removed, asked) => {
      const index = new NumberIndex()
      const items = new Map<number, Entry>()
      const leave = (handle: number): void => {
        const known = items.get(handle)
        if (known !== undefined) index.remove(known as never)
        items.delete(handle)
      }
      for (const one of added) {
        leave(one.handle)
        items.set(one.handle, one)
        index.add(one as never)
      }
      removed.forEach(leave)
      const bitmap = new Uint32Array(Math.ceil(3001 / 32)).fill(0xffff_ffff)
      index.apply(asked, bitmap)
      const every = Object.entries(asked)
      const isWrong = (handle: number): boolean => {
        const known = items.get(handle)
        // A name with no bound at all asks for a number, whichever.
        const expected =
          every.length === 0 ||
          (known !== undefined && every.every(([name, bounds]) => meets(known, name, bounds)))
        return (((bitmap[handle >> 5] >>> (handle & 31)) & 1) === 1) !== expected
      }
      expect(Array.from({ length: 3001 }, (_, handle) => handle).filter(isWrong)).toEqual([])
    }),
  )
})

const item = (handle: number, name: string) =>
  ({ handle, features: {}, attributes: { [name]: 1 } }) as never

test('names beyond the bound are met by no item, and harm no other', () => {
  const index = new NumberIndex()
  for (let i = 0; i < 1024; i += 1) index.add(item(i, `n${i}`))
  index.add(item(2000, 'beyond'))
  const met = (name: string): number => {
    const bitmap = new Uint32Array(64).fill(0xffff_ffff)
    index.apply({ [name]: { gte: 0 } }, bitmap)
    return bitmap.reduce((sum, word) => sum + word.toString(2).replaceAll('0', '').length, 0)
  }
  expect([met('n7'), met('beyond')]).toEqual([1, 0])
  // One leaves: there is room for another, of which the earlier item is no part.
  index.remove(item(0, 'n0'))
  index.add(item(1500, 'beyond'))
  index.remove(item(2000, 'beyond'))
  expect(met('beyond')).toBe(1)
})
