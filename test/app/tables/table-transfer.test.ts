import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { assert } from '../../../src/base/assert.ts'
import { lockDirectory } from '../../../src/stream/files/directory-lock.ts'
import { CheckpointStore } from '../../../src/trainer/checkpoint/checkpoint.ts'
import { recording, run } from '../../support/cli.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

/** A data directory that has learned from a small file, and room for files. */
async function learned() {
  const directory = temporaryDirectory()
  const clicks = recording(join(directory.path, 'clicks.csv'))
  const data = join(directory.path, 'data')
  const files = join(directory.path, 'files')
  await run('replay', clicks, '--data', data)
  return {
    data,
    files,
    checkpoints: join(data, 'checkpoints'),
    export: (...flags: string[]) =>
      run('export', 'tables', '--data', data, '--to', files, ...flags),
    import: (...flags: string[]) =>
      run('import', 'tables', '--data', data, '--from', files, ...flags),
    digest: async () => {
      const { json } = await run('inspect', 'checkpoint', '--data', data, '--json')
      return (json as { stateDigest: string }).stateDigest
    },
    [Symbol.dispose]: () => directory[Symbol.dispose](),
  }
}

const limit = { timeout: 60_000 }

test('what is exported and imported is the same state', limit, async () => {
  using subject = await learned()
  const before = await subject.digest()
  const { json, code } = await subject.export('--json')
  expect(code).toBe(0)
  const tables = (json as { tables: { name: string; rows: number }[] }).tables
  expect(tables.find(({ name }) => name === 'user')).toMatchObject({ rows: 40 })
  const lines = readFileSync(join(subject.files, 'user.ndjson'), 'utf8').trimEnd().split('\n')
  expect(lines).toHaveLength(40)
  expect((await subject.import()).code).toBe(0)
  expect(await subject.digest()).toBe(before)
  expect((await subject.import('--replace')).code).toBe(0)
  expect(await subject.digest()).toBe(before)
})

test('rows of another program arrive, and training goes on from them', limit, async () => {
  using subject = await learned()
  mkdirSync(subject.files)
  const vector = JSON.stringify(Array.from({ length: 64 }, (_, i) => i / 8))
  const file = join(subject.files, 'article.ndjson')
  writeFileSync(file, `{"key":"abc","vector":${vector}}\n`)
  const { json } = await subject.import('--json')
  expect(json).toMatchObject({ tables: [{ name: 'article', imported: 1, rows: 61 }] })
  await subject.export('article')
  expect(readFileSync(file, 'utf8')).toContain(`"key":"0000000000000abc","vector":${vector}`)
  const alone = await subject.import('article', '--replace', '--json')
  expect(alone.json).toMatchObject({ tables: [{ imported: 61, rows: 61 }] })
  const more = recording(join(subject.data, 'more.csv'))
  expect((await run('replay', more, more, '--data', subject.data)).code).toBe(0)
})

test('vectors go through NumPy’s files', limit, async () => {
  using subject = await learned()
  await subject.export('user', '--format', 'npy')
  expect(readdirSync(subject.files)).toEqual(['tables.json', 'user-keys.npy', 'user-values.npy'])
  const { json } = await subject.import('--format', 'npy', '--json')
  expect(json).toMatchObject({ tables: [{ name: 'user', imported: 40, rows: 40 }] })
  writeFileSync(join(subject.files, 'user-keys.npy'), 'no array')
  const { err, code } = await subject.import('user', '--format', 'npy')
  expect(err.join()).toMatch(/INPUT_INVALID: .*user-keys.npy.* is wrong at its header: it is not a/)
  expect(code).toBe(3)
})

test('a wrong line changes nothing', limit, async () => {
  using subject = await learned()
  await subject.export()
  const before = readdirSync(subject.checkpoints)
  const digest = await subject.digest()
  appendFileSync(join(subject.files, 'user.ndjson'), '{"key":"5","vector":[1]}\n')
  const { err, code } = await subject.import()
  expect(err.join()).toContain(
    'user.ndjson is wrong at line 41: "vector" has 1 numbers instead of 64; nothing was taken',
  )
  expect(code).toBe(3)
  expect(readdirSync(subject.checkpoints)).toEqual(before)
  expect(await subject.digest()).toBe(digest)
})

test('files of another model are refused', limit, async () => {
  using subject = await learned()
  await subject.export('user')
  const manifest = join(subject.files, 'tables.json')
  const text = readFileSync(manifest, 'utf8')
  const importWith = async (changed: string): Promise<string> => {
    writeFileSync(manifest, changed)
    return (await subject.import()).err.join()
  }
  expect(await importWith(text.replace('"seed": 1', '"seed": 2'))).toMatch(/hashed with seed 2/)
  expect(await importWith(text.replace('"dim": 64', '"dim": 32'))).toMatch(/made with 32 floats/)
  expect(await importWith('{}')).toMatch(/no freshet-tables of version 1/)
})

test('says what is missing: tables, files, a directory', limit, async () => {
  using subject = await learned()
  const names = await subject.export('usr')
  expect(names.err.join()).toMatch(/USAGE_INVALID: .*no table "usr"; did you mean "user"/)
  expect((await subject.import()).err.join()).toMatch(/INPUT_UNREADABLE: .*no ndjson file/)
  expect((await subject.import('user')).err.join()).toMatch(/INPUT_UNREADABLE: .*user.ndjson/)
  const npy = await subject.import('user', '--format', 'npy')
  expect(npy.err.join()).toMatch(/INPUT_UNREADABLE: .*user-keys.npy/)
  rmSync(subject.checkpoints, { recursive: true })
  expect((await subject.export()).err.join()).toMatch(/CHECKPOINT_MISSING/)
})

test('a table whose rows are said to be elsewhere is not made up', limit, async () => {
  using subject = await learned()
  await subject.export('user')
  const store = new CheckpointStore({ directory: subject.checkpoints, keep: 1 })
  const found = store.newest(() => undefined)
  assert(found !== undefined, 'there is a checkpoint')
  const parts = found.parts.map((name) => {
    return { name: name.replace('table-user', 'rows-user'), chunks: found.chunks(name) }
  })
  await store.write(found, parts)
  expect((await subject.export()).err.join()).toMatch(/ROWS_ELSEWHERE: .*table user as rows-user/)
  expect((await subject.export('article')).code).toBe(0)
  expect((await subject.import()).err.join()).toMatch(/ROWS_ELSEWHERE: .*rows-user/)
  expect((await subject.import('article')).code).toBe(0)
})

test('a service that runs is exported from and not imported into', limit, async () => {
  using subject = await learned()
  const log = join(subject.data, 'log')
  mkdirSync(log)
  const lock = lockDirectory(log)
  expect((await subject.export()).code).toBe(0)
  expect((await subject.import()).err.join()).toMatch(/LOG_LOCKED/)
  lock.release()
  expect((await subject.import()).code).toBe(0)
})

test('an export that fails leaves what was there, and no half of a file', limit, async () => {
  using subject = await learned()
  mkdirSync(join(subject.files, 'article.ndjson'), { recursive: true })
  const { code, err } = await subject.export('article', 'user')
  expect([code, err.join()]).toEqual([3, expect.stringContaining('OUTPUT_FAILED: cannot write')])
  expect(readdirSync(subject.files)).toEqual(['article.ndjson'])
})

test('a place that cannot be made is an error, not a wait', limit, async () => {
  using subject = await learned()
  const { code, err } = await subject.export('--to', '/proc/freshet/files')
  expect([code, err.join()]).toEqual([3, expect.stringContaining('DATA_UNUSABLE')])
})
