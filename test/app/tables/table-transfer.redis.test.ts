/** Tables of a data directory whose rows are in Redis: out to files, in from files and other tags. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { acquireLease } from '../../../src/trainer/lease/lease.ts'
import { RedisLeaseStore } from '../../../src/trainer/lease/redis-lease.ts'
import { recording, run } from '../../support/cli.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const limit = { timeout: 60_000 }
const memory = ['--config', 'configs/news.yaml']
const tables = ['user', 'article']

const importing = (...flags: readonly string[]) => run('import', 'tables', ...flags)

/** A server, and a place for files and data directories that have learned from the same clicks. */
async function opened() {
  const server = await RedisServer.start({ config: ['dbfilename rows.rdb'] })
  const directory = temporaryDirectory()
  const at = (...names: string[]): string => join(directory.path, ...names)
  const clicks = recording(at('clicks.csv'))
  const redis = (tag: string): string[] => {
    const address = `redis.url=redis://127.0.0.1:${server.port}/0`
    const settings = ['rows=tiered', 'memoryRows=2048', address, `redis.tag=${tag}`]
    return [...memory, ...settings.flatMap((one) => ['--set', `process.tables.${one}`])]
  }
  const train = (data: string, flags: readonly string[]) =>
    run('replay', clicks, '--data', at(data), ...flags)
  const exported = async (data: string, flags: readonly string[]): Promise<string> => {
    await run('export', 'tables', '--data', at(data), '--to', at(`${data}-out`), ...flags)
    return tables.map((name) => readFileSync(at(`${data}-out`, `${name}.ndjson`), 'utf8')).join()
  }
  const digest = async (data: string, flags: readonly string[]): Promise<string> => {
    const { json } = await run('inspect', 'checkpoint', '--data', at(data), ...flags, '--json')
    return (json as { stateDigest: string }).stateDigest
  }
  return {
    server,
    at,
    redis,
    train,
    exported,
    digest,
    async [Symbol.asyncDispose]() {
      await server.stop()
      directory[Symbol.dispose]()
    },
  }
}

test('rows are exported from Redis as they are from memory', limit, async () => {
  await using subject = await opened()
  const { at, redis, train } = subject
  for (const [name, flags] of [
    ['memory', memory],
    ['redis', redis('shop')],
  ] as const) {
    await train(name, flags)
    for (const format of ['ndjson', 'npy']) {
      const files = ['--to', at(`${name}-files`), '--format', format]
      const { code, err } = await run('export', 'tables', '--data', at(name), ...files, ...flags)
      expect([code, err.at(-1)]).toEqual([0, expect.stringContaining('rows')])
    }
  }
  for (const file of ['user.ndjson', 'article.ndjson', 'user-keys.npy', 'user-values.npy']) {
    const [expected, found] = ['memory-files', 'redis-files'].map((name) =>
      readFileSync(at(name, file)),
    )
    expect(found.equals(expected)).toBe(true)
  }
})

test(
  'files are imported into Redis as into memory, and training goes on alike',
  limit,
  async () => {
    await using subject = await opened()
    const { at, redis, train, digest } = subject
    const far = redis('shop')
    await train('memory', memory)
    await train('redis', far)
    const formats = ['ndjson', 'npy'] as const
    for (const format of formats) {
      const to = ['--to', at(format), '--format', format]
      await run('export', 'tables', '--data', at('memory'), ...to, ...memory)
    }
    const [first, ...others] = readFileSync(at('ndjson', 'user.ndjson'), 'utf8').split('\n')
    const fresh = first.replace(/"key":"[^"]*"/, '"key":"abc"').replace(/"count":\d+/, '"count":7')
    writeFileSync(at('ndjson', 'user.ndjson'), [fresh, ...others.slice(0, 9), ''].join('\n'))
    const imported = async (...flags: readonly string[]): Promise<void> => {
      const results = []
      for (const [name, where] of [
        ['memory', memory],
        ['redis', far],
      ] as const) {
        const { json } = await importing('--data', at(name), ...flags, ...where, '--json')
        results.push((json as { tables?: unknown }).tables)
      }
      expect(results[1]).toEqual(results[0])
      expect(await digest('redis', far)).toBe(await digest('memory', memory))
    }
    await imported('--from', at('ndjson'))
    await imported('--from', at('npy'), '--format', 'npy')
    await imported('user', '--from', at('ndjson'), '--replace')
    await train('memory', memory)
    await train('redis', far)
    expect(await digest('redis', far)).toBe(await digest('memory', memory))
  },
)

test('a wrong line changes nothing', limit, async () => {
  await using subject = await opened()
  const { at, redis, train, exported } = subject
  const far = redis('shop')
  await train('data', far)
  const before = await exported('data', far)
  const [first] = before.split('\n')
  writeFileSync(at('data-out', 'user.ndjson'), `${first}\n{"key":"5","vector":[1]}\n`)
  const { code, err } = await importing(
    'user',
    '--data',
    at('data'),
    '--from',
    at('data-out'),
    ...far,
  )
  expect([code, err.join()]).toEqual([3, expect.stringMatching(/INPUT_INVALID: .*line 2/)])
  expect(await exported('data', far)).toBe(before)
})

test('where trainers have leases, an import waits for none to be active', limit, async () => {
  await using subject = await opened()
  const { at, redis, train, exported, server } = subject
  const far = redis('shop')
  await train('data', far)
  const before = await exported('data', far)
  const address = `process.redis.url=redis://127.0.0.1:${server.port}`
  const settings = ['process.shape=distributed', 'process.kafka.brokers=[a:9092]', address]
  const shared = [...settings, 'process.trainer.leaseMs=1000'].flatMap((one) => ['--set', one])
  const flags = ['--data', at('data'), '--from', at('data-out'), ...far, ...shared]
  const store = new RedisLeaseStore({ model: 'news', connection: server.settings })
  const lease = await acquireLease({ store, holder: 'trainer-1' })
  const refused = await importing(...flags)
  expect([refused.code, refused.err.join()]).toEqual([3, expect.stringContaining('trainer-1')])
  await lease.release()
  await store.close()
  expect((await importing(...flags)).code).toBe(0)
  expect(await exported('data', far)).toBe(before)
})

test('what Redis loses of an import comes from the checkpoint again', limit, async () => {
  await using subject = await opened()
  const { server, at, redis, train, exported } = subject
  const far = redis('shop')
  await train('data', far)
  const before = await exported('data', far)
  const lines = before
    .replaceAll(/"count":\d+/g, '"count":1')
    .split('\n')
    .slice(0, 20)
  writeFileSync(at('data-out', 'user.ndjson'), `${lines.join('\n')}\n`)
  await server.command('SAVE')
  copyFileSync(join(server.directory, 'rows.rdb'), at('rows.rdb'))
  const files = ['user', '--from', at('data-out')]
  await run('import', 'tables', ...files, '--replace', '--data', at('data'), ...far)
  const after = await exported('data', far)
  expect(after).not.toBe(before)
  await server.kill()
  copyFileSync(at('rows.rdb'), join(server.directory, 'rows.rdb'))
  await server.start()
  expect(await exported('data', far)).toBe(after)
})

test('rows of another tag are imported, into Redis and into memory', limit, async () => {
  await using subject = await opened()
  const { at, redis, train, exported } = subject
  await train('old', redis('old'))
  const rows = await exported('old', redis('old'))
  const other = recording(at('other.csv'))
  const into = async (data: string, flags: readonly string[], ...more: readonly string[]) => {
    await run('replay', other, '--limit', '50', '--data', at(data), ...flags)
    const result = await importing('--data', at(data), '--from-tag', 'old', ...flags, ...more)
    return { ...result, rows: await exported(data, flags) }
  }
  const here = redis('new').map((flag) => flag.replace('rows=tiered', 'rows=memory'))
  const versions = /"version":\d+/g
  for (const [data, flags] of [
    ['far', redis('new')],
    ['near', here],
  ] as const) {
    const found = await into(data, flags, '--replace')
    expect([found.code, found.err.join()]).toEqual([0, expect.stringContaining('40 rows imported')])
    expect(found.rows.replaceAll(versions, '')).toBe(rows.replaceAll(versions, ''))
  }
  const nobody = await importing('--data', at('far'), '--from-tag', 'nobody', ...redis('new'))
  expect(nobody.err.join()).toMatch(/INPUT_UNREADABLE: .*tag nobody.*no rows/)
  const seeded = redis('seeded').concat('--set', 'model.seed=5')
  const refused = await into('seeded', seeded)
  expect(refused.err.join()).toMatch(/ROW_STORE_INCOMPATIBLE: .*keySeed/)
  const both = ['--from', at('old-out'), '--from-tag', 'old']
  const wrong = await run('import', 'tables', '--data', at('far'), ...both, ...redis('new'))
  expect([wrong.code, wrong.err.join()]).toEqual([2, expect.stringContaining('--from-tag')])
})
