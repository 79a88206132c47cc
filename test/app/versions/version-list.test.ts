import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { readVersions, writeVersions } from '../../../src/app/versions/version-file.ts'
import {
  freeName,
  listOf,
  rolledBack,
  withoutVersion,
  withPrimary,
  withTraffic,
  withVersion,
} from '../../../src/app/versions/version-list.ts'
import { Directory, smallConfig } from '../small-service.ts'

const { model } = smallConfig('unused')
const one = listOf({ name: 'a', folder: '', model, percent: 0, createdAt: 1 })
const two = withVersion(one, { name: 'b', model, createdAt: 2 }, 3)
const three = withVersion(two, { name: 'c', model, createdAt: 3 }, 3)

test('a version gets a folder of its own, and no traffic', () => {
  expect(two.versions[1]).toMatchObject({ name: 'b', folder: 'versions/b', percent: 0 })
  expect(two.versions[1].model).toEqual({ ...model, name: 'b' })
  expect(() => withVersion(two, { name: 'b', model, createdAt: 3 }, 3)).toThrow(/already/)
  expect(() => withVersion(three, { name: 'd', model, createdAt: 4 }, 3)).toThrow(/3 versions/)
  expect([freeName(two, 'c'), freeName(two, 'a'), freeName(three, 'b')]).toEqual([
    'c',
    'a-2',
    'b-2',
  ])
})

test('shares add up to 100 at most, and the primary has none of its own', () => {
  const shared = withTraffic(withTraffic(three, 'b', 60), 'c', 40)
  expect(shared.versions.map(({ percent }) => percent)).toEqual([0, 60, 40])
  expect(() => withTraffic(shared, 'c', 40.5)).toThrow(/100.5 percent/)
  expect(() => withTraffic(shared, 'a', 1)).toThrow(/answers/)
  expect(() => withTraffic(shared, 'd', 1)).toThrow(/there are a, b, c/)
  const promoted = withPrimary(shared, 'b')
  expect(promoted).toMatchObject({ primary: 'b', previous: 'a' })
  expect(promoted.versions.map(({ percent }) => percent)).toEqual([0, 0, 40])
})

test('going back leads to the primary before, once', () => {
  const promoted = withPrimary(two, 'b')
  expect(withPrimary(promoted, 'b')).toBe(promoted)
  const back = rolledBack(promoted)
  expect(back.primary).toBe('a')
  expect(() => rolledBack(back)).toThrow(/no version before a/)
  expect(() => rolledBack(withoutVersion(promoted, 'a'))).toThrow(/no version before b/)
  expect(() => withoutVersion(promoted, 'b')).toThrow(/answers/)
})

test('the file has the list, and damage is told', async () => {
  using directory = new Directory()
  const { path } = directory
  expect(readVersions(path)).toBeUndefined()
  const list = withPrimary(three, 'c')
  await writeVersions(path, list)
  await writeVersions(path, list)
  expect(readVersions(path)).toEqual(list)
  const file = join(path, 'versions.json')
  writeFileSync(file, readFileSync(file, 'utf8').replace('"primary":"c"', '"primary":"b"'))
  expect(() => readVersions(path)).toThrow(/checksum/)
  writeFileSync(file, '{')
  expect(() => readVersions(path)).toThrow(/cannot be read/)
})
