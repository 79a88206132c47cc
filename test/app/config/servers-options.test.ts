import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { loadConfig, parseOverride } from '../../../src/app/config/config.ts'
import {
  copiesOptions,
  kafkaSettings,
  redisSettings,
} from '../../../src/app/config/servers-options.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const processOf = (texts: readonly string[], environment = {}) =>
  loadConfig({
    environment,
    overrides: texts.map((text) => parseOverride(`process.${text}`)),
  }).config.process

const brokers = 'kafka.brokers=[a:9092, b:9092]'
const distributed = ['shape=distributed', brokers, 'redis.url=redis://db']

const inBucket = [...distributed, 'checkpoints.store=s3', 'checkpoints.s3.bucket=our-models']

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
    [['checkpoints.store=s3', 'checkpoints.s3.bucket=abc'], /"s3" needs shape: distributed/],
    [[...distributed, 'checkpoints.store=s3'], /s3\.bucket: is needed/],
    [[...inBucket, 'checkpoints.s3.accessKeyId=a'], /s3: expected accessKeyId and secretAccessKey/],
    [[...inBucket, 'checkpoints.s3.secretAccessKey=a'], /s3: expected accessKeyId/],
    [[...inBucket, 'checkpoints.s3.prefix=a'], /s3\.prefix: expected a path that ends/],
    [[...inBucket, 'checkpoints.s3.endpoint=here'], /s3\.endpoint/],
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

const copiesOf = (texts: readonly string[], environment = {}) => {
  const overrides = texts.map((text) => parseOverride(`process.${text}`))
  return copiesOptions(loadConfig({ environment, overrides }).config)
}

describe('checkpoints in a bucket', () => {
  test('are none by default', () => {
    expect(copiesOf([])).toBeUndefined()
  })

  test("are Amazon's with credentials from where its kind finds them", () => {
    expect(copiesOf(inBucket)).toEqual({
      prefix: 'freshet/shop/',
      s3: { bucket: 'our-models', region: 'us-east-1', pathStyle: false, requestTimeoutMs: 20_000 },
    })
  })

  test('have a prefix for each tag, and a path where there is an endpoint', () => {
    const more = ['redis.tag=shop-2', 'checkpoints.s3.endpoint=http://s3:9000']
    expect(copiesOf([...inBucket, ...more])).toMatchObject({
      prefix: 'freshet/shop-2/',
      s3: { endpoint: 'http://s3:9000', pathStyle: true },
    })
  })

  test('with a key from variables or a file', () => {
    using directory = temporaryDirectory()
    const file = join(directory.path, 'secret')
    writeFileSync(file, 'from a file\n')
    const key = [...inBucket, 'checkpoints.s3.accessKeyId=ann']
    expect(
      copiesOf(key, { FRESHET_CHECKPOINTS_S3_SECRET_ACCESS_KEY: 'from a variable' })?.s3
        .credentials,
    ).toEqual({ accessKeyId: 'ann', secretAccessKey: 'from a variable' })
    expect(
      copiesOf([...key, `checkpoints.s3.secretAccessKeyFile=${file}`])?.s3.credentials,
    ).toMatchObject({ secretAccessKey: 'from a file' })
  })
})
