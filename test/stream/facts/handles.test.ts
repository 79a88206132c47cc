import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import { Handles, TouchOrder } from '../../../src/stream/facts/handles.ts'

const reread = <State extends { write(writer: ByteWriter): void; read(reader: ByteReader): void }>(
  from: State,
  to: State,
): State => {
  const writer = new ByteWriter()
  from.write(writer)
  to.read(new ByteReader(writer.finish()))
  return to
}

test('a retired handle is given out again only after a release', () => {
  const handles = new Handles(10)
  expect([handles.allocate(), handles.allocate(), handles.allocate()]).toEqual([0, 1, 2])
  handles.retire(1)
  expect(handles.allocate()).toBe(3)
  handles.release()
  expect(handles.allocate()).toBe(1)
  expect(handles.limit).toBe(4)
})

test('which handle comes next survives being saved', () => {
  const handles = new Handles(10)
  for (let i = 0; i < 6; i += 1) handles.allocate()
  for (const handle of [4, 1, 3]) handles.retire(handle)
  handles.release()
  handles.retire(0)
  const again = reread(handles, new Handles(10))
  again.release()
  handles.release()
  for (let i = 0; i < 6; i += 1) expect(again.allocate()).toBe(handles.allocate())
})

test('handles that are never released are a mistake, told before anything goes wrong', () => {
  const handles = new Handles(1)
  for (let i = 0; i < handles.capacity; i += 1) handles.retire(handles.allocate())
  expect(() => handles.allocate()).toThrow('faster than they are released')
  const large = new Handles(100_000)
  for (let i = 0; i < 2_000; i += 1) large.allocate()
  expect(() => reread(large, new Handles(10))).toThrow(RangeError)
})

test('the order of touches is that of a list from which the touched is moved to the end', () => {
  const step = fc.tuple(fc.constantFrom('touch', 'touch', 'remove'), fc.nat({ max: 90 }))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      let order = new TouchOrder()
      let list: number[] = []
      for (const [verb, handle] of steps) {
        list = list.filter((other) => other !== handle)
        if (verb === 'touch') list.push(handle)
        order[verb](handle)
        expect(order.oldest).toBe(list[0] ?? -1)
        expect(order.has(handle)).toBe(verb === 'touch')
      }
      order = reread(order, new TouchOrder())
      for (const handle of list) {
        expect(order.oldest).toBe(handle)
        order.remove(handle)
      }
      expect(order.oldest).toBe(-1)
    }),
  )
})
