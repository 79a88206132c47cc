import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, expect, test } from 'vitest'

import { prepareDataDirectory } from '../../src/app/data-directory.ts'

const root = mkdtempSync(join(tmpdir(), 'freshet-data-'))
afterAll(() => rmSync(root, { recursive: true }))

const embedded = (dataDirectory: string) =>
  ({ dataDirectory, shape: 'embedded', roles: ['trainer'] }) as const

test('what is missing is made, and made once', () => {
  const directory = join(root, 'a', 'b')
  prepareDataDirectory(embedded(directory))
  prepareDataDirectory(embedded(directory))
  expect(existsSync(join(directory, 'checkpoints'))).toBe(true)
})

test('a file in its place is an error that says so', () => {
  const file = join(root, 'file')
  writeFileSync(file, '')
  expect(() => prepareDataDirectory(embedded(file))).toThrow(
    expect.objectContaining({ code: 'DATA_UNUSABLE', message: expect.stringContaining(file) }),
  )
})

test('a file system that refuses a name is an error, not a wait', () => {
  expect(() => prepareDataDirectory(embedded('/proc/freshet/data'))).toThrow(
    expect.objectContaining({ code: 'DATA_UNUSABLE' }),
  )
})

test('where the log is elsewhere, the trainer alone needs one', () => {
  const directory = join(root, 'c')
  const shape = 'distributed'
  prepareDataDirectory({ dataDirectory: directory, shape, roles: ['ingest', 'serving', 'jobs'] })
  expect(existsSync(directory)).toBe(false)
  prepareDataDirectory({ dataDirectory: directory, shape, roles: ['trainer'] })
  expect(existsSync(join(directory, 'checkpoints'))).toBe(true)
  expect(existsSync(join(directory, 'log'))).toBe(false)
})
