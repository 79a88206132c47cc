import { setImmediate as nextTurn } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { Standstill } from '../../src/serving/standstill.ts'
import { backgroundTurn } from '../../src/serving/turns.ts'

test('what changes the replica waits for the end, and others do not', async () => {
  const standstill = new Standstill()
  const events: string[] = []
  const end = standstill.begin()
  const change = standstill.turnToChange().then(() => events.push('change'))
  const look = backgroundTurn().then(() => events.push('look'))
  for (let turn = 0; turn < 10; turn += 1) await nextTurn()
  expect(events).toEqual(['look'])
  end()
  await Promise.all([change, look])
  expect(events).toEqual(['look', 'change'])
})
