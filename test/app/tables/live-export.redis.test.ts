/** Rows in Redis of a service that runs: out to files, by the command line and by its job. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { run } from '../../support/cli.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import { smallConfig, smallShop, startSmall } from '../small-service.ts'

const limit = { timeout: 60_000 }

test('a service that runs is exported from as its newest checkpoint is', limit, async () => {
  await using server = await RedisServer.start()
  using directory = temporaryDirectory()
  const data = join(directory.path, 'data')
  const far = [
    'process.tables.byTable={user: {rows: redis}, item: {rows: tiered, memoryRows: 4000}}',
    `process.tables.redis.url=redis://127.0.0.1:${server.port}/0`,
  ]
  const service = await startSmall(smallConfig(data, ...far))
  const { client } = service
  await client.waitUntilReady(20_000)
  const clicks = Array.from({ length: 300 }, (_, i) => ({
    kind: 'interaction',
    userId: `user-${i % 30}`,
    itemId: `item-${(7 * i) % 60}`,
    type: 'click',
    context: { device: 'phone' },
  }))
  await client.sendItems(
    [...new Set(clicks.map(({ itemId }) => itemId))].map((id) => ({
      id,
      features: { title: `thing ${id}`, categories: ['a'] },
      attributes: { title: `thing ${id}` },
    })),
  )
  await client.sendEvents(clicks)
  await service.settled(clicks.length)
  await client.runJob('checkpoint')
  const settings = [...smallShop, ...far].flatMap((one) => ['--set', one])
  const exported = async (files: string, format: string): Promise<Buffer[]> => {
    const to = join(directory.path, files)
    const flags = ['--data', data, '--to', to, '--format', format, ...settings]
    const { code, err } = await run('export', 'tables', 'user', 'item', ...flags)
    expect([code, err.join()]).toEqual([0, expect.stringContaining('user: 30 rows')])
    return readdirSync(to).map((name) => readFileSync(join(to, name)))
  }
  const live = [await exported('live', 'ndjson'), await exported('live-npy', 'npy')]
  const job = await client.runJob('export', { format: 'ndjson', table: 'user' })
  expect(job).toMatchObject({ state: 'done' })
  const [folder = ''] = readdirSync(join(data, 'exports'))
  const [ofJob, ofCommand] = [join(data, 'exports', folder), join(directory.path, 'live')]
  const user = 'user.ndjson'
  expect(readFileSync(join(ofJob, user))).toEqual(readFileSync(join(ofCommand, user)))
  await service.service.stop()
  expect([await exported('stopped', 'ndjson'), await exported('stopped-npy', 'npy')]).toEqual(live)
})
