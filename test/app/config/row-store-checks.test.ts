import { expect, test } from 'vitest'

import { rowStoreChecks } from '../../../src/app/config/row-store-checks.ts'
import { tableSpec } from '../../support/tables.ts'
import { tieredTable } from '../../support/tiered.ts'

test('nothing is said where all rows are in memory, or before there is a status', () => {
  expect(rowStoreChecks(undefined)).toEqual([])
  expect(rowStoreChecks({ tables: [] })).toEqual([])
})

test('a store that is away is named, and makes nobody unready', () => {
  const { table, store } = tieredTable(tableSpec(), { memoryRows: 8 })
  const checks = () => rowStoreChecks({ tables: [{ name: 'user', ...table.stats() }] })
  expect(checks()).toMatchObject([
    { name: 'rows', ready: true, detail: expect.stringMatching(/^available; 0 rows/) as string },
  ])
  store.interrupt()
  expect(checks()).toMatchObject([{ ready: true, detail: 'training waits for the rows of user' }])
})
