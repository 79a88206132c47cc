/** The table over a store in memory; over Redis: `stored-table.redis.test.ts`. */
import { describe, expect, test } from 'vitest'

import { MemoryRowStore } from '../../../src/embedding/store/memory-row-store.ts'
import type { StoredTable } from '../../../src/embedding/store/stored-table.ts'
import { openStoredTable, recordBytesOf } from '../../../src/embedding/store/stored-table.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import { testEmbeddingTable } from '../../contract/embedding-table.ts'
import { testStoredTable, train } from '../../contract/stored-table.ts'
import { adagrad, idsOf, keysOf, range, step, tableSpec } from '../../support/tables.ts'

function open(spec: TableSpec): Promise<StoredTable> {
  return openStoredTable(spec, { store: new MemoryRowStore({ recordBytes: recordBytesOf(spec) }) })
}

describe('contract', () => {
  testEmbeddingTable(open)
  // State that time alone changes, this store leaves as it is.
  testStoredTable(open, [adagrad])
})

test('a store that does not answer is waited for, and nothing is done twice', async () => {
  const spec = tableSpec()
  let refusals = 0
  const before = (verb: string): void => {
    if (verb !== 'write' || refusals > 0) return
    refusals += 1
    store.interrupt()
    setImmediate(() => store.recover())
  }
  const store = new MemoryRowStore({ recordBytes: recordBytesOf(spec), before })
  const table = await openStoredTable(spec, { store })
  await train(table, [1, 2], 1)
  const other = await open(spec)
  await train(other, [1, 2], 1)
  const [vectors, expected] = [new Float32Array(4), new Float32Array(4)]
  await table.find(keysOf(1, 2), vectors)
  await other.find(keysOf(1, 2), expected)
  expect(vectors).toEqual(expected)
  expect(refusals).toBe(1)
})

test('waiting for a store ends with the signal', async () => {
  const spec = tableSpec()
  const store = new MemoryRowStore({ recordBytes: recordBytesOf(spec) })
  const stop = new AbortController()
  const table = await openStoredTable(spec, { store, signal: stop.signal })
  store.interrupt()
  const found = table.find(keysOf(1), new Float32Array(2))
  stop.abort(new Error('stopping'))
  await expect(found).rejects.toThrow('stopping')
})

test('rows lost by the store end the verb', async () => {
  const spec = tableSpec()
  const store = new MemoryRowStore({ recordBytes: recordBytesOf(spec) })
  const table = await openStoredTable(spec, { store })
  await train(table, [1], 1)
  store.goBack()
  await expect(train(table, [1], 2)).rejects.toMatchObject({ code: 'ROW_STORE_WENT_BACK' })
})

test('rows past their time to live leave now and then', async () => {
  const restrict = { policy: 'timestamp', numReserved: 64, trigger: 64, ttlMs: 5_000 } as const
  const table = await open(tableSpec({ restrict }))
  await train(table, range(0, 4), 1)
  await train(table, range(2, 6), 9)
  expect(idsOf(await table.restrictSome(restrict))).toEqual([0, 1])
  expect(table.size).toBe(4)
  expect(await table.restrictSome(restrict)).toHaveLength(0)
})

test('more changes than can be remembered ask for everything', async () => {
  const table = await open(tableSpec({ capacityRows: 8 }))
  for (let round = 0; round < 4; round += 1) {
    const ids = range(8 * round, 8 * round + 8)
    await table.findOrInsert(keysOf(...ids), new Float32Array(16), step(round + 1))
    await table.erase(keysOf(...ids))
  }
  expect(await table.takeChanges()).toMatchObject({ resync: true })
  await table.findOrInsert(keysOf(1), new Float32Array(2), step(9))
  const { changed, resync } = await table.takeChanges()
  expect([idsOf(changed), resync]).toEqual([[1], false])
})
