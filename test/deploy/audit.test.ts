import { expect, test } from 'vitest'

import { verdict } from '../../deploy/audit.ts'

const answer = (high: number, found: object): string =>
  JSON.stringify({
    metadata: { vulnerabilities: { low: 1, moderate: 0, high, critical: 0, total: high + 1 } },
    vulnerabilities: found,
  })

test('a grave weakness fails the check and is named, a slight one is told', () => {
  const slight = { one: { severity: 'low' } }
  const line = 'audited: 1 known weaknesses, none grave'
  expect(verdict(answer(0, slight))).toEqual({ code: 0, line })
  const grave = verdict(answer(1, { ...slight, two: { severity: 'high' } }))
  expect(grave).toEqual({
    code: 1,
    line: 'known weaknesses in two (high): see npm audit --omit=dev',
  })
})

test.each(['', '{"message": "405 Method Not Allowed"}', 'npm error'])(
  'a registry that answers %j fails nothing, and that is said',
  (text) => {
    expect(verdict(text)).toEqual({
      code: 0,
      line: 'not audited: the registry does not answer that question',
    })
  },
)
