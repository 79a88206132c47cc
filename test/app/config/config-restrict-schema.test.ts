import { describe, expect, test } from 'vitest'

import { jsonSchema } from '../../../src/app/config/config-schema.ts'
import { loadConfig } from '../../../src/app/config/config.ts'
import { ownRequest } from '../../../src/embedding/restrict/restrict.ts'

/** The shop with one member of its table `item` set. */
const withItem = (member: 'admission' | 'restrict', value: unknown) => {
  const path = ['model', 'tables', 'item', member]
  const overrides = [{ path, value, source: 'test' }]
  const { config } = loadConfig({ environment: {}, overrides })
  const table = config.model.tables.find(({ name }) => name === 'item')
  if (table === undefined) throw new Error('the shop has items')
  return table
}

describe('admission', () => {
  test.each([
    [{ kind: 'always' }, {}],
    [{ kind: 'minCount', count: 3 }, { capacityKeys: 1_048_576 }],
    [
      { kind: 'countingBloom', count: 2 },
      { falsePositiveRate: 0.01, capacityKeys: 1_048_576 },
    ],
    [{ kind: 'probabilistic', probability: 0.1 }, {}],
  ])('%j has its defaults', (given, defaults) => {
    expect(withItem('admission', given).admission).toEqual({ ...given, ...defaults })
  })

  test.each([
    [{ kind: 'sometimes' }, /admission/],
    [{ kind: 'minCount', count: 1 }, /count/],
    [{ kind: 'countingBloom', count: 300 }, /count/],
    [{ kind: 'countingBloom', count: 2, falsePositiveRate: 1 }, /falsePositiveRate/],
    [{ kind: 'probabilistic', probability: 0 }, /probability/],
    [{ kind: 'minCount', count: 2, capacity: 5 }, /capacity/],
  ])('%j is refused where it is wrong', (given, path) => {
    expect(() => withItem('admission', given)).toThrow(path)
  })
})

describe('restrict', () => {
  test('happens above a trigger, or at a fill level', () => {
    const rows = (more: object) => ownRequest(withItem('restrict', { numReserved: 10, ...more }))
    const { capacityRows } = withItem('admission', { kind: 'always' })
    expect(rows({ trigger: 20 })).toMatchObject({ trigger: 20, policy: 'frequency' })
    expect(rows({ triggerFill: 0.5 })?.trigger).toBe(capacityRows / 2)
    expect(rows({})?.trigger).toBe(Math.floor(0.95 * capacityRows))
  })

  test('all that it may be told is kept', () => {
    const given = {
      policy: 'combined',
      numReserved: 10,
      trigger: 20,
      counting: 'steps',
      halfLifeMs: 86_400_000,
      recencyHalfLifeMs: 3_600_000,
      ttlMs: 7_000_000,
      floorRows: 5,
      protectedIds: ['tent-1'],
    }
    expect(withItem('restrict', given).restrict).toEqual(given)
  })

  test('what is not said is not there: a data directory of before still fits', () => {
    const given = { numReserved: 10, trigger: 20 }
    const defaults = { policy: 'frequency', counting: 'occurrences' }
    expect(withItem('restrict', given).restrict).toEqual({ ...defaults, ...given })
  })

  test.each([
    [{ trigger: 20 }, /numReserved/],
    [{ numReserved: 30, trigger: 20 }, /trigger/],
    [{ numReserved: 10, trigger: 20, triggerFill: 0.5 }, /triggerFill/],
    [{ numReserved: 200_000, triggerFill: 0.1 }, /numReserved: must not be above the/],
    [{ numReserved: 10, trigger: 1_000_000 }, /capacityRows/],
    [{ numReserved: 10, halfLifeMs: 5 }, /halfLifeMs/],
    [{ numReserved: 10, policy: 'random' }, /policy/],
    [{ numReserved: 1.5 }, /numReserved/],
  ])('%j is refused where it is wrong', (given, path) => {
    expect(() => withItem('restrict', given)).toThrow(path)
  })
})

test('the JSON schema has both with what they mean', () => {
  const schema = JSON.stringify(jsonSchema())
  for (const text of ['countingBloom', 'recencyHalfLifeMs', 'earn a row']) {
    expect(schema).toContain(text)
  }
})
