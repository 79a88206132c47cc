/** The client against the whole service, and its types against the API's schemas. */
import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest'
import type * as z from 'zod'

import { FreshetAdmin, FreshetClient } from '../../src/client/freshet-client.ts'
import type {
  Answer,
  Interaction,
  Recommendations,
  RecommendRequest,
} from '../../src/client/freshet-client.ts'
import type { RecommendRequest as Asked } from '../../src/serving/recommendation.ts'
import type { Recommendations as Given } from '../../src/serving/recommendation.ts'
import type { eventSchema } from '../../src/stream/event-schema.ts'
import { Directory, smallConfig, startSmall } from '../app/small-service.ts'

const directory = new Directory()
let small: Awaited<ReturnType<typeof startSmall>>
let client: FreshetClient
/** Method and path of each request, ids taken out. */
const asked = new Set<string>()

const urlOf = (input: Parameters<typeof fetch>[0]): string =>
  input instanceof Request ? input.url : input.toString()

beforeAll(async () => {
  small = await startSmall(smallConfig(directory.path))
  client = new FreshetClient({
    baseUrl: small.service.address,
    fetch: (input, init) => {
      const path = new URL(urlOf(input)).pathname.replace(
        /^(\/v1\/(?:items|users)\/)[^/]+/,
        '$1{id}',
      )
      asked.add(`${init?.method?.toLowerCase()} ${path}`)
      return fetch(input, init)
    },
  })
})

afterAll(async () => {
  await small.service.stop()
  directory[Symbol.dispose]()
})

test('a shop is filled, clicked in and asked', async () => {
  const items = Array.from({ length: 30 }, (_, i) => ({
    id: `i/${i}`,
    features: { title: `thing ${i}`, categories: [i % 2 === 0 ? 'even' : 'odd'] },
    attributes: { price: i },
  }))
  expect(await client.putItems(items)).toMatchObject({ accepted: 30, rejected: [] })
  await client.putItem('odd one/1', { features: { title: 'alone' }, crowdingTag: 'x' })
  await client.patchItem('odd one/1', { attributes: { price: 99 } })
  await client.putUser('ann', { country: 'nl' })
  await client.patchUser('ann', { age: 40 })

  const events = Array.from({ length: 100 }, (_, i) => ({
    userId: `u${i % 9}`,
    itemId: `i/${(i * 3) % 30}`,
    type: 'click',
  }))
  const { accepted, offset = '' } = await client.sendEvents(events)
  expect(accepted).toBe(100)
  const after = { minSequence: offset }

  expect(await client.item('odd one/1', after)).toMatchObject({ attributes: { price: 99 } })
  expect(await client.item('nothing')).toBeUndefined()
  expect(await client.user('ann')).toMatchObject({ features: { country: 'nl', age: 40 } })
  expect(await client.user('nobody')).toBeUndefined()
  expect((await client.recentUsers(3)).map(({ id }) => id)).toEqual(['u0', 'u8', 'u7'])
  const known: string[] = []
  for await (const { id } of client.users()) known.push(id)
  expect(known.slice(0, 3)).toEqual(['u0', 'u8', 'u7'])
  expect(known).toContain('ann')
  const found: string[] = []
  for await (const { id } of client.items({ search: 'thing' })) found.push(id)
  expect(found).toHaveLength(30)

  await small.settled()
  const filter = { allow: { categories: ['even'] }, numeric: { price: { lt: 10 } } }
  const answer = await client.recommend({ userId: 'new', n: 30, filter, explain: true, ...after })
  expect(answer.items.map(({ id }) => id).toSorted()).toEqual(['i/0', 'i/2', 'i/4', 'i/6', 'i/8'])
  expect(answer.fallback).toBe('popularity')
  const both = await client.recommendAll([{ userId: 'u1', n: 2 }, { n: 3 }], after)
  expect(both.map(({ items: found1 }) => found1.length)).toEqual([2, 3])
  const session = await client.recommendForSession({ events: [{ itemId: 'i/3' }], n: 4 })
  expect(session.fallback).toBe('history')
  const ranked = await client.rank({ userId: 'u1', items: ['i/1', 'i/2', 'nothing'] })
  expect(ranked.items.map(({ id }) => id).toSorted()).toEqual(['i/1', 'i/2'])
  expect((await client.similar('i/1', { n: 5 })).items).toHaveLength(5)
  const [user, item] = [await client.userEmbedding('u1'), await client.itemEmbedding('i/1')]
  expect(user.vector).toHaveLength(item.vector.length)
  expect((await client.status()).at).toBeGreaterThan(0)

  await client.deleteUser('ann')
  await client.deleteItem('odd one/1')
  await expect.poll(() => client.item('odd one/1')).toBeUndefined()
})

test('events are batched, and a bad one is told', async () => {
  const told: unknown[] = []
  {
    await using batch = client.batchEvents({ onError: (error) => told.push(error) })
    for (let i = 0; i < 20; i += 1) batch.add({ userId: 'b', itemId: `i/${i}`, type: 'view' })
    batch.add({ userId: '', itemId: 'i/1', type: 'view' })
  }
  expect(told).toEqual([expect.objectContaining({ code: 'EVENT_INVALID', index: 20 })])
  await expect.poll(async () => (await client.user('b'))?.seen).toBe(20)
})

test('an operator runs jobs, calls them off and looks around', async () => {
  const admin = new FreshetAdmin({ baseUrl: small.service.address })
  expect(await admin.isReady()).toBe(true)
  expect((await admin.jobs(5)).names).toContain('checkpoint')
  const run = await admin.startJob({ name: 'checkpoint', key: 'once' })
  expect(await admin.startJob({ name: 'checkpoint', key: 'once' })).toEqual(run)
  expect(await admin.job(run.id)).toEqual(run)
  expect(await admin.cancelJob(run.id)).toMatchObject({ state: 'done' })
  await expect(admin.cancelJob('none')).rejects.toMatchObject({ code: 'JOB_RUN_UNKNOWN' })
  const [newest] = await admin.checkpoints()
  expect(newest).toMatchObject({ name: run.result?.['name'] })
  expect(await admin.readiness()).toMatchObject({ ready: true, missing: [] })
  expect(await admin.ask('GET', 'tables')).toHaveProperty('tables')
  expect(await admin.metrics()).toContain('freshet_jobs_finished_total')
})

test('every route that a shop needs has been asked', async () => {
  const answer = await fetch(`${small.service.address}/openapi.json`)
  const { paths } = (await answer.json()) as { paths: Record<string, Record<string, unknown>> }
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  )
  // The rest is for operators and orchestrators, for other programs' habits, or the same as a POST.
  const notAsked = routes
    .filter((route) => !asked.has(route) && !route.includes(' /v1/admin/'))
    .toSorted()
  expect(notAsked).toEqual([
    'get /health/live',
    'get /health/ready',
    'get /metrics',
    'get /openapi.json',
    'get /recommend/{id}',
    'get /v1/imports/{id}',
    'get /v1/recommendations',
    'get /v1/recommendations/{id}',
    'post /v1/models/user_model:predict',
    'put /v1/imports/{id}',
  ])
})

/** Held by the compiler. */
test('what the client takes the service takes, and what it answers the client knows', () => {
  type Taken = Extract<z.input<typeof eventSchema>, { kind: 'interaction' }>
  expectTypeOf<Interaction & { kind: 'interaction' }>().toExtend<Taken>()
  expectTypeOf<RecommendRequest & { n: number }>().toExtend<Asked>()
  expectTypeOf<Given>().toExtend<Recommendations>()
  expectTypeOf<Given & { requestId: string }>().toExtend<Answer>()
})
