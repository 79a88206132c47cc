import { readFileSync } from 'node:fs'

import { expect, test } from 'vitest'

import { configurationPage } from '../../docs/configuration.ts'
import { options } from '../../src/app/config/config-paths.ts'

const page = readFileSync('docs/configuration.md', 'utf8')

test('the reference of the configuration is that of the schema', () => {
  // `node docs/configuration.ts` writes it anew.
  expect(page).toBe(configurationPage())
})

test('every option is in it with its variable, and says what it does', () => {
  const missing = options.filter(({ variable }) => !page.includes(`\`${variable}\``))
  expect(missing.map(({ path }) => path.join('.'))).toEqual([])
  const { length } = options
  expect(length).toBeGreaterThan(100)
})
