/** A trainer that was paused in the middle of a write, and goes on after another one took over. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { BatchJournal, type JournalEntry } from '../../../src/stream/files/journal.ts'
import { CheckpointStore } from '../../../src/trainer/checkpoint/checkpoint.ts'
import { claimFolder } from '../../../src/trainer/lease/own-folder.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const header = (sequence: number) => ({ sequence, position: {}, createdAt: 0, config: {} })
const batch = (at: number): JournalEntry => ({
  kind: 'batch',
  from: { 0: String(at) },
  to: { 0: String(at + 1) },
  events: 1,
})
const refused = (code: string) => expect.objectContaining({ code })

test('a later lease takes the folders of earlier ones away, an earlier one finds itself lost', async () => {
  using directory = temporaryDirectory()
  const folder = join(directory.path, 'deep')
  expect(await claimFolder(folder, 3)).toBe(join(folder, 'epoch-3'))
  await claimFolder(folder, 5)
  expect(readdirSync(folder)).toEqual(['epoch-5'])
  await expect(claimFolder(folder, 4)).rejects.toThrow(refused('LEASE_LOST'))
  expect(readdirSync(folder)).toEqual(['epoch-5'])
  expect(await claimFolder(folder, 5)).toBe(join(folder, 'epoch-5'))
})

test('a checkpoint under way as another one takes over is never put in place', async () => {
  using folder = temporaryDirectory()
  const directory = folder.path
  const workshop = await claimFolder(directory, 1)
  const store = new CheckpointStore({ directory, keep: 1, workshop })
  await store.write(header(1), [{ name: 'facts', chunks: [Uint8Array.of(1)] }])
  const begun = Promise.withResolvers<undefined>()
  const successor = { isThere: false }
  const chunks = function* (): Generator<Uint8Array> {
    begun.resolve(undefined)
    while (!successor.isThere) yield new Uint8Array(1 << 20)
  }
  const writing = Promise.allSettled([
    store.write(header(2), [{ name: 'facts', chunks: chunks() }]),
  ])
  await begun.promise
  const later = await claimFolder(directory, 2)
  successor.isThere = true
  expect(await writing).toEqual([{ status: 'rejected', reason: refused('CHECKPOINT_FAILED') }])
  expect(readdirSync(directory).toSorted()).toEqual(['checkpoint-000000000001', 'epoch-2'])
  // Nor one that it begins now.
  const again = store.write(header(3), [{ name: 'facts', chunks: [] }])
  await expect(again).rejects.toThrow(refused('CHECKPOINT_FAILED'))
  const next = new CheckpointStore({ directory, keep: 2, workshop: later })
  await next.write(header(2), [{ name: 'facts', chunks: [Uint8Array.of(3)] }])
  expect(next.sequences()).toEqual([1, 2])
})

test('entries of the replaced one are in a file that nobody reads, nor does it replace another', async () => {
  using folder = temporaryDirectory()
  const directory = folder.path
  const path = join(directory, 'batches')
  const paused = new BatchJournal({ path, workshop: await claimFolder(directory, 1) })
  paused.append(batch(0))
  paused.append(batch(1))
  const successor = new BatchJournal({ path, workshop: await claimFolder(directory, 2) })
  expect([successor.first, successor.next]).toEqual([0, 2])
  paused.append(batch(2))
  expect(() => paused.truncateBefore(2)).toThrow('ENOENT')
  expect(() => paused.restartAt(0)).toThrow('ENOENT')
  expect(successor.append(batch(7))).toBe(2)
  successor.truncateBefore(1)
  const entries = successor.entries(1).map(({ entry }) => entry)
  expect(entries).toEqual([batch(1), batch(7)])
  successor.close()
  paused.close()
  const again = new BatchJournal({ path })
  expect(again.entries(1).map(({ entry }) => entry)).toEqual(entries)
  again.close()
  expect(readdirSync(directory).toSorted()).toEqual(['batches', 'epoch-2'])
})
