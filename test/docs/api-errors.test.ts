import { readFileSync } from 'node:fs'

import { expect, test } from 'vitest'

import { withCodes } from '../../docs/api-errors.ts'

test('docs/api.md has every code, its status and its meaning: node docs/api-errors.ts', () => {
  const text = readFileSync('docs/api.md', 'utf8')
  expect(text).toBe(withCodes(text))
})
