import { expect, test } from 'vitest'

import { arrayOf, bytesOfReply, checkRecord } from '../../../src/embedding/redis/redis-records.ts'
import { recordsOf, testRecordBytes } from '../../contract/row-store.ts'
import { keysOf } from '../../support/tables.ts'

test('a value that cannot be the row of a key is refused', () => {
  const [row, other] = [7, 8].map((id) => Buffer.from(recordsOf(keysOf(id))))
  const key = row.subarray(0, 8)
  expect(() => checkRecord(row, key, testRecordBytes)).not.toThrow()
  expect(() => checkRecord(row, key, 49)).toThrow('a row of 48 bytes, not 49')
  expect(() => checkRecord(row, other, testRecordBytes)).toThrow('under the key of another')
})

test('replies of another kind are errors', () => {
  expect(() => arrayOf('OK')).toThrow(RangeError)
  expect(() => bytesOfReply(1)).toThrow(RangeError)
})
