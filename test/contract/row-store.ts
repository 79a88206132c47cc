/**
 * What every store of rows must do; an adapter's test calls this with a way to open an empty one.
 */
import { expect, test } from 'vitest'

import type { Keys } from '../../src/base/keys.ts'
import { keyCount } from '../../src/base/keys.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { RowStore } from '../../src/embedding/tiered/row-store.ts'
import { keysOf, randomKeys, range } from '../support/tables.ts'

/** Rows with vectors of two floats and as much state. */
export const testRecordBytes = 48
export type OpenStore = (tag?: string) => Promise<RowStore>

/** Records of these keys, whose other bytes tell the seed. */
export function recordsOf(keys: Keys, seed = 1): Uint8Array {
  const random = seededRandom(seed)
  const records = new Uint8Array(keyCount(keys) * testRecordBytes)
  const view = new DataView(records.buffer)
  for (let i = 0; i < keyCount(keys); i += 1) {
    const at = i * testRecordBytes
    view.setUint32(at, keys[2 * i], true)
    view.setUint32(at + 4, keys[2 * i + 1], true)
    view.setUint32(at + 8, i, true)
    view.setUint32(at + 12, seed, true)
    view.setFloat64(at + 16, 1_000 * (i + 1), true)
    for (let float = at + 32; float < at + testRecordBytes; float += 4) {
      view.setFloat32(float, random.next(), true)
    }
  }
  return records
}

export async function readAll(store: RowStore, keys: Keys): Promise<[Uint8Array, number[]]> {
  const records = new Uint8Array(keyCount(keys) * testRecordBytes).fill(7)
  const present = new Uint8Array(keyCount(keys)).fill(7)
  await store.read(keys, records, present)
  return [records, [...present]]
}

export function testRowStore(open: OpenStore): void {
  testRows(open)
  testMarks(open)
}

function testRows(open: OpenStore): void {
  test('what was written is read, byte by byte, and what was not is absent', async () => {
    await using store = closing(await open())
    const keys = randomKeys(3, 100)
    const records = recordsOf(keys)
    await store.write(records)
    expect(await readAll(store, keys)).toEqual([records, range(0, 100).map(() => 1)])
    const others = keysOf(1, 2)
    expect(await readAll(store, others)).toEqual([new Uint8Array(2 * testRecordBytes), [0, 0]])
    expect(await store.size()).toBe(100)
  })

  test('batches of any size keep the order of their keys', async () => {
    await using store = closing(await open())
    const keys = randomKeys(4, 9_001)
    await store.write(recordsOf(keys))
    const [records, present] = await readAll(store, keys)
    expect(Buffer.compare(records, recordsOf(keys))).toBe(0)
    expect(present.every((flag) => flag === 1)).toBe(true)
  })

  test('a row written again is the later one, also within a batch', async () => {
    await using store = closing(await open())
    await store.write(recordsOf(keysOf(1), 1))
    await store.write(Buffer.concat([recordsOf(keysOf(1), 2), recordsOf(keysOf(1), 3)]))
    expect(await readAll(store, keysOf(1))).toEqual([recordsOf(keysOf(1), 3), [1]])
  })

  test('changes that were asked for together happen in that order', async () => {
    await using store = closing(await open())
    const done = range(1, 20).map((seed) => store.write(recordsOf(keysOf(1, 2, 3), seed)))
    const erased = store.erase(keysOf(2))
    await Promise.all(done)
    expect(await erased).toBe(1)
    const [records, present] = await readAll(store, keysOf(1, 2, 3))
    expect(present).toEqual([1, 0, 1])
    const first = recordsOf(keysOf(1, 2, 3), 19).slice(0, testRecordBytes)
    expect(records.slice(0, testRecordBytes)).toEqual(first)
  })

  test('erase says how many rows there were', async () => {
    await using store = closing(await open())
    await store.write(recordsOf(keysOf(...range(0, 10))))
    expect(await store.erase(keysOf(1, 5, 50))).toBe(2)
    expect(await store.size()).toBe(8)
    expect(await store.erase(new Uint32Array(0))).toBe(0)
  })

  test('clear removes everything', async () => {
    await using store = closing(await open())
    await store.write(recordsOf(keysOf(...range(0, 10))))
    await store.mark(3)
    await store.clear()
    expect(await store.size()).toBe(0)
    expect(Math.max(...(await store.acceptLoss()))).toBe(-1)
  })
}

function testMarks(open: OpenStore): void {
  test('marks are in every slice, or nowhere before the first', async () => {
    await using store = closing(await open())
    expect(Math.max(...(await store.acceptLoss()))).toBe(-1)
    await store.mark(12)
    const marks = await store.acceptLoss()
    expect([Math.min(...marks), Math.max(...marks)]).toEqual([12, 12])
  })

  test('rows and marks are there for the next one who opens', async () => {
    const keys = keysOf(1, 2, 3)
    {
      await using store = closing(await open('again'))
      await store.write(recordsOf(keys))
      await store.mark(5)
    }
    await using store = closing(await open('again'))
    expect(await readAll(store, keys)).toEqual([recordsOf(keys), [1, 1, 1]])
    expect(Math.min(...(await store.acceptLoss()))).toBe(5)
  })
}

/** Closes a store at the end of its block. */
export function closing<Store extends RowStore>(store: Store): Store & AsyncDisposable {
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() })
}
