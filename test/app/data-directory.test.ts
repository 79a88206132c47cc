import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, expect, test } from 'vitest'

import { prepareDataDirectory } from '../../src/app/data-directory.ts'

const root = mkdtempSync(join(tmpdir(), 'freshet-data-'))
afterAll(() => rmSync(root, { recursive: true }))

test('what is missing is made, and made once', () => {
  const directory = join(root, 'a', 'b')
  prepareDataDirectory(directory)
  prepareDataDirectory(directory)
  expect(existsSync(join(directory, 'checkpoints'))).toBe(true)
})

test('a file in its place is an error that says so', () => {
  const file = join(root, 'file')
  writeFileSync(file, '')
  expect(() => prepareDataDirectory(file)).toThrow(
    expect.objectContaining({ code: 'DATA_UNUSABLE', message: expect.stringContaining(file) }),
  )
})
