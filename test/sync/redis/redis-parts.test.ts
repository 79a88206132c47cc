/** What parameters in Redis are made of, without a server. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { chunksOf, ChainCutter, ChainJoiner } from '../../../src/sync/delta-chunks.ts'
import type { Delta } from '../../../src/sync/delta.ts'
import { DeltaEntries, entryOf } from '../../../src/sync/redis/redis-entries.ts'
import {
  entryId,
  maxChunks,
  placeOf,
  snapshotOf,
  snapshotText,
  syncNames,
} from '../../../src/sync/redis/redis-names.ts'
import { Retention } from '../../../src/sync/redis/redis-retention.ts'
import { drawSnapshot } from '../../../src/sync/redis/redis-snapshot-writer.ts'

const deltaOf = (sequence: number, floats: number): Delta => ({
  sequence,
  base: 0,
  modelVersion: 1,
  publishedAt: 1,
  watermark: { offsets: {}, acceptedAt: 0 },
  tables: [],
  weights: Float32Array.from({ length: floats }, (_, i) => i),
})

test('a chain of deltas is the same after being chunks, whatever their sizes', () => {
  const sizes = fc.array(fc.nat(300), { maxLength: 12 })
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 2_000 }), (floats, chunkBytes) => {
      const deltas = floats.map((count, i) => deltaOf(i + 1, count))
      const cutter = new ChainCutter(chunkBytes)
      const chunks = [...deltas.flatMap((delta) => [...cutter.add(delta)]), ...cutter.end()]
      expect(chunks.every(({ length }) => length <= chunkBytes)).toBe(true)
      const joiner = new ChainJoiner()
      expect(chunks.flatMap((chunk) => Array.from(joiner.add(chunk)))).toEqual(deltas)
      joiner.end()
    }),
  )
})

test('a chain that lacks its end, or has a length that cannot be, is damaged', () => {
  const damaged = expect.objectContaining({ code: 'SYNC_DELTA_DAMAGED' })
  const cutter = new ChainCutter(1 << 20)
  const [chunk] = [...cutter.add(deltaOf(1, 9)), ...cutter.end()]
  const joiner = new ChainJoiner()
  expect([...joiner.add(chunk.subarray(0, chunk.length - 1))]).toEqual([])
  expect(() => joiner.end()).toThrow(damaged)
  expect(() => [...new ChainJoiner().add(Buffer.alloc(9, 255))]).toThrow(damaged)
})

test('ids of entries say what they hold, and are in the order of it', () => {
  const place = { epoch: 1_795_000_000_000, sequence: 2 ** 36, chunk: maxChunks - 1 }
  expect(placeOf(entryId(place))).toEqual(place)
  expect(snapshotOf('')).toBeUndefined()
  const snapshot = { id: 'a-b', epoch: 5, sequence: 6, chunks: 7, writtenAt: 8 }
  expect(snapshotOf(snapshotText(snapshot))).toEqual(snapshot)
  expect(() => syncNames('a{b')).toThrow(/braces/)
})

const entry = (sequence: number, chunk: number, chunks: number, base = sequence - 1) => ({
  epoch: 1,
  sequence,
  chunk,
  chunks,
  base,
  bytes: Buffer.from([sequence, chunk]),
})

test('a delta is whole with its last chunk, and only on what it builds on', () => {
  const entries = new DeltaEntries(0)
  entries.standAt(4)
  expect(entries.add(entry(4, 0, 1)).kind).toBe('part')
  expect(entries.add(entry(5, 0, 2)).kind).toBe('part')
  expect(entries.add(entry(5, 1, 2))).toEqual({ kind: 'delta', bytes: Buffer.from([5, 0, 5, 1]) })
  entries.standAt(5)
  expect(entries.add(entry(8, 0, 1))).toEqual({ kind: 'gap', needed: 7 })
  expect(entries.add(entry(6, 1, 2))).toEqual({ kind: 'gap', needed: 6 })
  expect(entries.add(entry(9, 0, 1, 0)).kind).toBe('delta')
})

test('an entry that is no entry is of no epoch', () => {
  expect(entryOf(['0-1', ['b', '1']])).toMatchObject({ epoch: 0, bytes: Buffer.alloc(0) })
  expect(entryOf(undefined).chunks).toBeNaN()
})

test('what is kept is bounded in number and bytes, and never nothing', () => {
  const retention = new Retention({ maxDeltas: 3, maxBytes: 100 })
  expect(retention.oldest(1)).toBe(1)
  for (let sequence = 1; sequence <= 5; sequence += 1) retention.add(sequence, 10)
  expect([retention.deltas, retention.bytes, retention.oldest(9)]).toEqual([3, 30, 3])
  retention.add(6, 95)
  expect([retention.deltas, retention.oldest(9)]).toEqual([1, 6])
  retention.add(7, 500)
  retention.release(9)
  expect([retention.deltas, retention.bytes, retention.oldest(9)]).toEqual([1, 500, 7])
})

test('a snapshot is read ahead of what is written, within its bound', async () => {
  let writing = 0
  let read = 0
  const gates: (() => void)[] = []
  function* pieces(): Generator<Delta> {
    for (; read < 10; read += 1) yield deltaOf(3, 25)
  }
  const { drawn, written } = drawSnapshot(pieces(), {
    chunkBytes: 100,
    bufferBytes: 300,
    write: async () => {
      writing += 1
      await new Promise<void>((resolve) => gates.push(resolve))
    },
  })
  await expect.poll(() => writing).toBe(1)
  expect(read).toBeLessThan(5)
  const opening = setInterval(() => gates.splice(0).forEach((open) => open()), 1)
  expect(await drawn).toBe(3)
  expect(await written).toEqual({ sequence: 3, chunks: writing })
  clearInterval(opening)
  expect(chunksOf(new Uint8Array(250), 100).map(({ length }) => length)).toEqual([100, 100, 50])
})

const write = (): Promise<void> => Promise.reject(new Error('no room'))

test('what cannot be written ends the snapshot', async () => {
  const { written } = drawSnapshot([deltaOf(1, 99)], { chunkBytes: 50, bufferBytes: 100, write })
  await expect(written).rejects.toThrow('no room')
})
