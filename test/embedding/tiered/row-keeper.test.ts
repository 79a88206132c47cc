import { expect, test } from 'vitest'

import { readRedo, type SavedCut } from '../../../src/embedding/tiered/redo.ts'
import { randomKeys, step, tableSpec } from '../../support/tables.ts'
import { tieredTable } from '../../support/tiered.ts'

const spec = tableSpec({ capacityRows: 64 })

/** A table whose redo parts are kept, as checkpoints would. */
function withRedo() {
  const kept = new Map<number, readonly Uint8Array[]>()
  const saved = (sequence: number): SavedCut | undefined => {
    const chunks = kept.get(sequence)
    return chunks && readRedo(chunks, spec.name)
  }
  const subject = tieredTable(spec, { memoryRows: 16, saved })
  const train = async (seed: number): Promise<void> => {
    await subject.table.assign(randomKeys(seed, 8), new Float32Array(16).fill(seed), step(seed))
    kept.set(seed, [...subject.table.redo()])
    await subject.table.flush(seed)
  }
  return { ...subject, kept, train }
}

test('a start from nothing needs a store with nothing', async () => {
  const { keeper, store } = withRedo()
  await keeper.open(-1)
  await store.write(new Uint8Array(store.recordBytes).fill(1))
  await expect(keeper.open(-1)).rejects.toMatchObject({ code: 'ROW_STORE_OCCUPIED' })
})

test('a store that is ahead of the checkpoint cannot be gone back to', async () => {
  const { keeper, store } = withRedo()
  await store.mark(5)
  await expect(keeper.open(3)).rejects.toMatchObject({
    code: 'ROW_STORE_AHEAD',
    details: { mark: 5, sequence: 3 },
  })
})

test('what a store has lost is sent again, from as many checkpoints as it takes', async () => {
  const { table, store, train, keeper, events } = withRedo()
  for (let n = 1; n <= 4; n += 1) await train(n)
  const before = await table.digest()
  store.goBack(3)
  expect(await table.digest()).toBe(before)
  expect(await store.acceptLoss()).toEqual(Float64Array.of(4))
  expect(events.map(({ kind }) => kind)).toEqual(['wentBack', 'redone'])
  expect(keeper.status()).toMatchObject({ losses: 1, flushed: 4, state: 'available' })
})

test('what no checkpoint that is kept can tell is an error', async () => {
  const { table, store, train, kept } = withRedo()
  for (let n = 1; n <= 4; n += 1) await train(n)
  kept.delete(3)
  store.goBack(3)
  await expect(table.digest()).rejects.toMatchObject({
    code: 'ROW_STORE_BEHIND',
    details: { mark: 2, sequence: 3 },
  })
})

test('a row that is not what it must be is never used', async () => {
  const { table, store, train } = withRedo()
  for (let n = 1; n <= 4; n += 1) await train(n)
  const record = new Uint8Array(store.recordBytes)
  await store.read(randomKeys(1, 1), record, new Uint8Array(1))
  // The version of its last change.
  record[12] += 1
  await store.write(record)
  await expect(table.digest()).rejects.toMatchObject({
    code: 'ROW_STORE_DAMAGED',
    details: { rows: 1 },
  })
  await store.erase(randomKeys(2, 8))
  await expect(table.find(randomKeys(2, 8), new Float32Array(16))).rejects.toMatchObject({
    code: 'ROW_STORE_DAMAGED',
  })
})

test('a redo part that is none is refused', () => {
  expect(() => readRedo([], 'user')).toThrow(/the snapshot of table user .* its redo part/)
  expect(() => readRedo([new Uint8Array(40)], 'user')).toThrow(/its redo part/)
})
