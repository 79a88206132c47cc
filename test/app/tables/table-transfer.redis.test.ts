import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { recording, run } from '../../support/cli.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

test('rows are exported from Redis as they are from memory', { timeout: 60_000 }, async () => {
  await using server = await RedisServer.start({})
  using directory = temporaryDirectory()
  const at = (name: string): string => join(directory.path, name)
  const clicks = recording(at('clicks.csv'))
  const [address] = server.settings.addresses
  const far = [
    'rows=tiered',
    'memoryRows=2048',
    `redis.url=redis://${address.host}:${address.port}/0`,
  ]
  const flags = far.flatMap((setting) => ['--set', `process.tables.${setting}`])
  const config = ['--config', 'configs/news.yaml']
  for (const [name, more] of [
    ['memory', config],
    ['redis', [...config, ...flags]],
  ] as const) {
    await run('replay', clicks, '--data', at(name), ...more)
    for (const format of ['ndjson', 'npy']) {
      const files = ['--to', at(`${name}-files`), '--format', format]
      const { code, err } = await run('export', 'tables', '--data', at(name), ...files, ...more)
      expect([code, err.at(-1)]).toEqual([0, expect.stringContaining('rows')])
    }
  }
  for (const file of ['user.ndjson', 'article.ndjson', 'user-keys.npy', 'user-values.npy']) {
    const [memory, redis] = ['memory-files', 'redis-files'].map((name) =>
      readFileSync(join(at(name), file)),
    )
    expect(redis.equals(memory)).toBe(true)
  }
})
