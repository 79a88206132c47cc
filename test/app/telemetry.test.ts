import { expect, test } from 'vitest'

import { createLogger } from '../../src/app/telemetry.ts'

const logged = (redactIds: boolean, object: object): string => {
  let text = ''
  createLogger({ level: 'info', redactIds }, (line) => (text += line)).info(object, 'said')
  return text
}

test('a line is JSON with time, level and message', () => {
  expect(JSON.parse(logged(false, { userId: 'ada' }))).toMatchObject({
    level: 'info',
    msg: 'said',
    userId: 'ada',
    time: expect.stringMatching(/^\d{4}-/),
  })
})

test('ids are left out when told, secrets always', () => {
  expect(logged(true, { userId: 'ada', details: { itemId: 'x9' } })).not.toMatch(/ada|x9/)
  expect(logged(false, { apiKey: 'hush' })).not.toContain('hush')
})
