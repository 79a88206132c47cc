import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { loadConfig, parseOverride } from '../../../src/app/config/config.ts'
import { kafkaSettings, redisSettings } from '../../../src/app/config/servers-options.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const processOf = (texts: readonly string[], environment = {}) =>
  loadConfig({
    environment,
    overrides: texts.map((text) => parseOverride(`process.${text}`)),
  }).config.process

const brokers = 'kafka.brokers=[a:9092, b:9092]'
const distributed = ['shape=distributed', brokers, 'redis.url=redis://db']

describe('what a shape needs', () => {
  test('of the embedded one is nothing', () => {
    expect(processOf([])).toMatchObject({ shape: 'embedded', kafka: { brokers: [] } })
  })

  test('of the distributed one are Kafka and, but at the door, Redis', () => {
    expect(processOf(distributed)).toMatchObject({ shape: 'distributed' })
    expect(processOf([...distributed, 'roles=[serving]']).roles).toEqual(['serving'])
    expect(processOf(['shape=distributed', brokers, 'roles=[ingest]']).roles).toEqual(['ingest'])
  })

  test.each([
    [['shape=both'], /process\.shape/],
    [['shape=distributed', 'redis.url=redis://db'], /kafka\.brokers: the distributed shape/],
    [['shape=distributed', brokers], /process\.redis: expected one of url, sentinels, nodes/],
    [['shape=distributed', brokers, 'roles=[jobs]'], /process\.redis: expected one of/],
    [['redis.url=redis://db', 'redis.nodes=[a:1]'], /process\.redis: expected one of/],
    [['redis.password=a', 'redis.passwordFile=b'], /redis\.password: passwordFile says it, too/],
    [['roles=[serving]'], /"serving" needs "trainer".*or shape: distributed/],
    [['kafka.brokers=[here]'], /expected host:port/],
    [['kafka.sasl.username=ann'], /kafka\.sasl: expected mechanism, username, and password/],
    [['kafka.sasl={mechanism: plain, username: a, password: b, passwordFile: c}'], /kafka\.sasl/],
    [['kafka.topic=a b'], /kafka\.topic/],
  ])('%s is refused', (texts, message) => {
    expect(() => processOf(texts)).toThrow(message)
  })
})

describe('Kafka', () => {
  test('is reached as it is said', () => {
    const found = kafkaSettings(processOf([brokers, 'kafka.topic=clicks']).kafka)
    expect(found).toMatchObject({ brokers: ['a:9092', 'b:9092'], topic: 'clicks' })
    expect(found).not.toHaveProperty('sasl')
    expect(found).not.toHaveProperty('tls')
  })

  test('by variables', () => {
    const variables = {
      FRESHET_SHAPE: 'distributed',
      FRESHET_ROLES: '[ingest]',
      FRESHET_KAFKA_BROKERS: '[a:9092]',
      FRESHET_KAFKA_SASL_MECHANISM: 'scram-sha-512',
      FRESHET_KAFKA_SASL_USERNAME: 'ann',
      FRESHET_KAFKA_SASL_PASSWORD: '12345',
    }
    const { kafka } = processOf([], variables)
    const sasl = { mechanism: 'scram-sha-512', username: 'ann', password: '12345' }
    expect(kafkaSettings(kafka)).toMatchObject({ brokers: ['a:9092'], sasl })
  })

  test('with secrets from files', () => {
    using directory = temporaryDirectory()
    const file = join(directory.path, 'secret')
    writeFileSync(file, 'from a file\nand no more')
    const sasl = `kafka.sasl={mechanism: plain, username: ann, passwordFile: ${file}}`
    const tls = `kafka.tls={enabled: true, caFile: ${file}}`
    expect(kafkaSettings(processOf([sasl, tls]).kafka)).toMatchObject({
      sasl: { password: 'from a file' },
      tls: { ca: 'from a file\nand no more' },
    })
    const missing = processOf(['kafka.tls={enabled: true, caFile: /none}']).kafka
    expect(() => kafkaSettings(missing)).toThrow(/invalid at process\.kafka: .*ENOENT/)
  })
})

test('Redis is reached as it is for rows', () => {
  const { redis } = processOf(['redis.url=redis://db:6380/2'], { FRESHET_REDIS_PASSWORD: 'secret' })
  expect(redisSettings(redis, 'process.redis')).toMatchObject({
    mode: 'standalone',
    addresses: [{ host: 'db', port: 6380 }],
    database: 2,
    password: 'secret',
  })
})
