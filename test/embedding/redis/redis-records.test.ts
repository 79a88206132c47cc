import { expect, test } from 'vitest'

import {
  arrayOf,
  bytesOfReply,
  checkRecord,
  decayOf,
  distinctScores,
} from '../../../src/embedding/redis/redis-records.ts'
import { scoreBytes } from '../../../src/embedding/store/row-store.ts'
import { keysOf, range, tableSpec } from '../../support/tables.ts'

function scoresOf(...ids: readonly number[]): Buffer {
  const scores = Buffer.alloc(ids.length * scoreBytes)
  for (const [i, id] of ids.entries()) {
    scores.set(new Uint8Array(keysOf(id).buffer), i * scoreBytes)
    scores.writeUInt32LE(id, i * scoreBytes + 8)
  }
  return scores
}

test('a row that a scan gave twice is there once', () => {
  expect(Buffer.from(distinctScores(scoresOf(3, 1, 3, 2, 1)))).toEqual(scoresOf(3, 1, 2))
  const all = scoresOf(...range(0, 100))
  expect(distinctScores(all)).toBe(all)
})

test('a value that cannot be the row of a key is refused', () => {
  const row = scoresOf(7)
  const key = row.subarray(0, 8)
  expect(() => checkRecord(row, key, scoreBytes)).not.toThrow()
  expect(() => checkRecord(row, key, 25)).toThrow('a row of 24 bytes, not 25')
  expect(() => checkRecord(row, scoresOf(8), scoreBytes)).toThrow('under the key of another')
})

test('replies of another kind are errors', () => {
  expect(() => arrayOf('OK')).toThrow(RangeError)
  expect(() => bytesOfReply(1)).toThrow(RangeError)
})

test('what the script could not do as the kernels do it, it is not asked', () => {
  expect(() => decayOf(tableSpec({ maxNorm: 1 }))).toThrow('maxNorm')
})
