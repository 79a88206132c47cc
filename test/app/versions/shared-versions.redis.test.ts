/** The list of versions in Redis: who changes it at the same time, and what a server has lost. */
import { setTimeout as sleep } from 'node:timers/promises'

import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { redisSettings } from '../../../src/app/config/servers-options.ts'
import { type Saying, SharedVersions } from '../../../src/app/versions/shared-versions.ts'
import {
  listOf,
  type VersionList,
  withPrimary,
  withVersion,
} from '../../../src/app/versions/version-list.ts'
import { present } from '../../../src/base/assert.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { smallConfig } from '../small-service.ts'

let server: RedisServer
let redis: Redis
beforeAll(async () => {
  server = await RedisServer.start()
  redis = new Redis({ port: server.port, host: '127.0.0.1' })
}, 120_000)
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

const { model, process } = smallConfig('unused')
const first = listOf({ name: 'a', folder: '', model, percent: 0, createdAt: 1 })
const adding = (name: string) => (list: VersionList | undefined) =>
  withVersion(present(list, 'a list'), { name, model, createdAt: 2 }, 8)

let tags = 0
async function open(tag: string, saying: Saying = { learning: {} }): Promise<SharedVersions> {
  const shared = new SharedVersions({
    redis: redisSettings({ ...process.redis, url: `redis://127.0.0.1:${server.port}` }, 'redis'),
    tag,
    say: () => saying,
    onList: () => undefined,
    onTrouble: () => undefined,
  })
  expect(await shared.open(10_000, new AbortController().signal)).toBe('open')
  return shared
}
const newTag = (): string => `versions-${(tags += 1)}`

async function eventually(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !isSo(); i += 1) await sleep(10)
  expect(isSo()).toBe(true)
}

const names = ({ list }: SharedVersions): readonly string[] =>
  list?.versions.map(({ name }) => name).toSorted() ?? []

test('changes of several processes at once are all there, and all follow', async () => {
  const tag = newTag()
  const all = [await open(tag), await open(tag), await open(tag)]
  for (const one of all) await one.start()
  expect(all[0].list).toBeUndefined()
  await all[0].change(() => first)
  await eventually(() => all.every(({ list }) => list !== undefined))
  await Promise.all(all.map((one, i) => one.change(adding(`b${i}`))))
  await eventually(() => all.every((one) => names(one).join() === 'a,b0,b1,b2'))
  await expect(all[1].change(adding('b0'))).rejects.toThrow(/already/)
  for (const one of all) await one.stop()
})

test('a server that has lost the list gets the newest one back', async () => {
  const tag = newTag()
  const [old, other] = [await open(tag), await open(tag)]
  await old.change(() => first)
  await other.start()
  await eventually(() => other.list !== undefined)
  await other.change(adding('b'))
  await other.change((list) => withPrimary(present(list, 'a list'), 'b'))
  await redis.del(`{freshet:${tag}}:versions`, `{freshet:${tag}}:versions:said`)
  await old.start()
  const late = await open(tag)
  await late.start()
  await eventually(() => [old, late].every(({ list }) => list?.primary === 'b'))
  expect(await redis.hget(`{freshet:${tag}}:versions`, 'revision')).toBe('3')
  for (const one of [old, other, late]) await one.stop()
})

test('what a replica waits for is told to the others', async () => {
  const tag = newTag()
  const replica = { name: 'host:1', waits: { a: '', b: '7 events' } }
  const one = await open(tag, { learning: {}, replica })
  const two = await open(tag)
  expect(two.waitingFor('a')).toBeUndefined()
  expect(two.waitingFor('b')).toBe('host:1: 7 events')
  expect(two.waitingFor('c')).toBe('host:1: not there yet')
  expect(two.learningOf('a')).toBeUndefined()
  for (const shared of [one, two]) await shared.stop()
})

test('a change while Redis is away is refused, and may be repeated', async () => {
  const tag = newTag()
  const shared = await open(tag)
  await shared.stop()
  await expect(shared.change(() => first)).rejects.toMatchObject({
    code: 'VERSIONS_UNAVAILABLE',
    retryable: true,
  })
})
