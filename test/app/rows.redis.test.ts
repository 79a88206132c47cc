import { afterAll, beforeAll, expect, test } from 'vitest'

import { runCli } from '../../src/app/program.ts'
import { ManualClock } from '../../src/base/clock.ts'
import { openRedisRowStore } from '../../src/embedding/redis/redis-row-store.ts'
import { recordsOf, testRecordBytes } from '../contract/row-store.ts'
import { RedisServer } from '../support/redis-server.ts'
import { keysOf, tableSpec } from '../support/tables.ts'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
}, 240_000)
afterAll(() => server.stop())

const run = async (command: string, ...args: readonly string[]) => {
  const out: string[] = []
  const err: string[] = []
  let code = 0
  const flags = [
    '--set',
    'process.tables.rows=tiered',
    '--set',
    `process.tables.redis.url=redis://127.0.0.1:${server.port}`,
    '--set',
    'process.tables.redis.tag=new',
  ]
  await runCli(['node', 'freshet', 'rows', command, ...flags, ...args], {
    print: (line) => out.push(line),
    progress: (line) => err.push(line),
    interactive: false,
    exit: (given) => {
      code = given
    },
  })
  return { out, err: err.join('\n'), code }
}

/** Rows of a table of the shop, as a trainer of this time left them. */
async function leaveRows(tag: string, time: number): Promise<void> {
  const store = await openRedisRowStore({
    table: tableSpec({ name: 'item' }),
    recordBytes: testRecordBytes,
    tag,
    connection: server.settings,
    clock: new ManualClock(time),
  })
  await store.write(recordsOf(keysOf(1, 2, 3)))
  await store.close()
}

test('rows of tags that nobody uses are listed and removed, the own ones never', async () => {
  const longAgo = Date.parse('2020-01-01T00:00:00Z')
  await leaveRows('old', longAgo)
  await leaveRows('new', longAgo)
  await leaveRows('other', Date.now())
  const listed = await run('list')
  expect(listed.err).toBe('')
  expect(listed.out).toContain('item old: 3 rows, last used 2020-01-01T00:00:00.000Z')
  expect(listed.out).toHaveLength(3)
  const planned = await run('expire', '--unused-days', '30', '--dry-run')
  expect(planned.out).toEqual([
    'item old: 3 rows, last used 2020-01-01T00:00:00.000Z, would be removed',
  ])
  await run('expire', '--unused-days', '30', '--json')
  const { out } = await run('list', '--json')
  const { tags } = JSON.parse(out.at(-1) ?? '') as { tags: { tag: string; rows: number }[] }
  expect(tags.map(({ tag, rows }) => [tag, rows])).toEqual([
    ['new', 3],
    ['other', 3],
  ])
  expect(String(await server.command('KEYS', 'freshet:old:*'))).toBe('')
})

test('without a server it is said, and so is that all rows are in memory', async () => {
  const away = await run('list', '--set', 'process.tables.redis.url=redis://127.0.0.1:1')
  expect([away.code, away.err]).toEqual([1, expect.stringContaining('ROW_STORE_UNAVAILABLE')])
  const nothing = await run('list', '--set', 'process.tables.rows=memory')
  expect([nothing.code, nothing.err]).toEqual([2, expect.stringContaining('USAGE_INVALID')])
})
