import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { loadConfig, parseOverride } from '../../../src/app/config/config.ts'
import { farRowsOptions } from '../../../src/app/config/far-rows-options.ts'
import { trainerProcess } from '../../../src/app/options.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const set = (texts: readonly string[], environment = {}) =>
  loadConfig({
    environment,
    overrides: texts.map((text) => parseOverride(`process.tables.${text}`)),
  }).config

const optionsOf = (texts: readonly string[], environment = {}) =>
  farRowsOptions(set(texts, environment), true)

const tiered = ['rows=tiered', 'memoryRows=1000', 'redis.url=redis://db:6380/2']

test('all rows are in memory unless something else is said', () => {
  expect(optionsOf([])).toBeUndefined()
  expect(trainerProcess(set([]))).not.toHaveProperty('farRows')
})

test('every table, or some, with so many rows in memory', () => {
  expect(optionsOf(tiered)?.memoryRows).toMatchObject({ user: 1000, item: 1000, context: 1000 })
  const some = ['byTable={user: {rows: tiered, memoryRows: 9}, item: {rows: redis}}', tiered[2]]
  expect(optionsOf(some)?.memoryRows).toEqual({ user: 9, item: 65_536 })
  const more = ['byTable={user: {rows: redis, memoryRows: 99000}}', tiered[2]]
  expect(optionsOf(more)?.memoryRows).toEqual({ user: 99_000 })
  const but = [...tiered, 'byTable={user: {rows: memory}}']
  expect(optionsOf(but)?.memoryRows).not.toHaveProperty('user')
})

describe('the connection', () => {
  test('to one server is a URL', () => {
    expect(optionsOf(tiered)?.redis.connection).toMatchObject({
      mode: 'standalone',
      addresses: [{ host: 'db', port: 6380 }],
      database: 2,
    })
    const secret = optionsOf([tiered[0], 'redis.url=rediss://ann:p%40ss@db'])
    expect(secret?.redis.connection).toMatchObject({
      addresses: [{ host: 'db', port: 6379 }],
      username: 'ann',
      password: 'p@ss',
      tls: {},
    })
  })

  test('through Sentinels has a name for the master', () => {
    const found = optionsOf(['rows=redis', 'redis.sentinels=[a:1, b:2]', 'redis.masterName=rows'])
    expect(found?.redis.connection).toMatchObject({
      mode: 'sentinel',
      addresses: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
      masterName: 'rows',
    })
  })

  test('to a cluster is some of its nodes', () => {
    const found = optionsOf(['rows=tiered', 'redis.nodes=[a:1]'])
    expect(found?.redis.connection).toMatchObject({ mode: 'cluster' })
  })

  test('has a password from the environment or a file, and certificates from files', () => {
    const FRESHET_TABLES_REDIS_PASSWORD = 'from outside'
    const given = optionsOf(tiered, { FRESHET_TABLES_REDIS_PASSWORD })
    expect(given?.redis.connection).toMatchObject({ password: 'from outside' })
    using directory = temporaryDirectory()
    const file = join(directory.path, 'secret')
    writeFileSync(file, 'from a file\nand no more')
    const read = [
      ...tiered,
      `redis.passwordFile=${file}`,
      `redis.tls={enabled: true, caFile: ${file}}`,
    ]
    expect(optionsOf(read)?.redis.connection).toMatchObject({
      password: 'from a file',
      tls: { ca: 'from a file\nand no more' },
    })
    const missing = [...tiered, 'redis.passwordFile=/none']
    expect(() => optionsOf(missing)).toThrow(/none is invalid at process\.tables\.redis: .*ENOENT/)
  })
})

test('the tag is that of the model, and another one for what is thrown away', () => {
  expect(optionsOf(tiered)?.redis.tag).toBe('shop')
  expect(farRowsOptions(set([...tiered, 'redis.tag=spring']), false)?.redis.tag).toBe(
    'spring-scratch',
  )
})

test.each([
  [['rows=tiered'], /tables\.redis: expected one of url, sentinels, nodes/],
  [[...tiered, 'redis.nodes=[a:1]'], /tables\.redis: expected one of/],
  [['byTable={usr: {rows: tiered}}'], /byTable\.usr: no table "usr"; did you mean "user"\?/],
  [['redis.url=http://x'], /expected redis:\/\/host:port/],
  [['redis.sentinels=[here]'], /expected host:port/],
  [[...tiered, 'redis.password=a', 'redis.passwordFile=b'], /passwordFile says it, too/],
  [['memoryRows=0'], /memoryRows/],
])('%s is refused', (texts, message) => {
  expect(() => set(texts)).toThrow(message)
})
