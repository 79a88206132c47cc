import { expect, test } from 'vitest'

import { readAll, recordsOf, testRecordBytes, testRowStore } from '../../contract/row-store.ts'
import { MemoryRowStore } from '../../support/memory-row-store.ts'
import type { MemoryRows } from '../../support/memory-row-store.ts'
import { keysOf } from '../../support/tables.ts'

const tags = new Map<string, MemoryRows>()
let opened = 0
testRowStore((tag) => {
  opened += 1
  return Promise.resolve(
    new MemoryRowStore({ recordBytes: testRecordBytes, tag: tag ?? `t${opened}`, tags }),
  )
})

test('interrupted it rejects, and ready waits for its recovery', async () => {
  const store = new MemoryRowStore({ recordBytes: testRecordBytes })
  store.interrupt()
  await expect(store.size()).rejects.toMatchObject({ code: 'ROW_STORE_UNAVAILABLE' })
  const ready = store.ready()
  store.recover()
  await ready
  expect(await store.size()).toBe(0)
})

test('having lost what came after its mark it says so until that is accepted', async () => {
  const store = new MemoryRowStore({ recordBytes: testRecordBytes })
  await store.write(recordsOf(keysOf(1)))
  await store.mark(4)
  await store.write(recordsOf(keysOf(2)))
  store.goBack()
  await expect(store.size()).rejects.toMatchObject({ code: 'ROW_STORE_WENT_BACK' })
  expect([...(await store.acceptLoss())]).toEqual([4])
  expect((await readAll(store, keysOf(1, 2)))[1]).toEqual([1, 0])
})
