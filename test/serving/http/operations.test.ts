import { expect, test } from 'vitest'

import { ManualClock } from '../../../src/base/clock.ts'
import { ServiceError } from '../../../src/base/errors.ts'
import { LoadGuard } from '../../../src/serving/http/load-guard.ts'
import { defaultHttpSettings } from '../../../src/serving/http/settings.ts'
import { openHttp } from '../../support/http-service.ts'

test('a route that is not there is 404', async () => {
  await using http = await openHttp()
  for (const url of ['/', '/v1', '/v1/items/a/b', '/v1/Items/a', '//', '/v1/../etc/passwd']) {
    const { status, body } = await http.call('GET', url)
    expect([url, status, body.error.code]).toEqual([url, 404, 'ROUTE_UNKNOWN'])
  }
})

test('a method that is not there is 405 and names those that are', async () => {
  await using http = await openHttp()
  const { status, headers, body } = await http.call('DELETE', '/v1/events')
  expect([status, body.error.code]).toEqual([405, 'METHOD_NOT_ALLOWED'])
  expect(headers['allow']).toBe('POST')
  expect((await http.call('POST', '/v1/items/i', {})).headers['allow']).toContain('PATCH')
})

test('the process is live', async () => {
  await using http = await openHttp()
  expect(await http.call('GET', '/health/live')).toMatchObject({
    status: 200,
    body: { status: 'live' },
  })
})

test('readiness says what is missing', async () => {
  await using http = await openHttp()
  expect((await http.call('GET', '/health/ready')).body).toMatchObject({ ready: true, missing: [] })
  http.service.paused = true
  const { status, body } = await http.call('GET', '/health/ready')
  expect(status).toBe(503)
  expect(body).toEqual({
    ready: false,
    missing: ['facts'],
    checks: [{ name: 'facts', ready: false, detail: 'of the test' }],
  })
})

test('a server that is stopping is not ready, and takes no new work', async () => {
  await using http = await openHttp()
  http.gate.drain()
  expect((await http.call('GET', '/health/ready')).body.missing).toEqual(['stopping'])
  expect((await http.call('GET', '/health/live')).status).toBe(200)
  const { status, headers, body } = await http.call('GET', '/v1/items')
  expect([status, body.error.code, headers['retry-after']]).toEqual([503, 'SHUTTING_DOWN', '1'])
})

test('one request too many at once is turned away, and none after', async () => {
  await using http = await openHttp({ maxConcurrent: 2 })
  const durable = Promise.withResolvers<void>()
  http.service.gate = durable.promise
  const click = { userId: 'u', itemId: 'i', type: 'click' }
  const first = [http.call('POST', '/v1/events', click), http.call('POST', '/v1/events', click)]
  await expect.poll(() => http.load.requests).toBe(2)
  const third = await http.call('POST', '/v1/events', click)
  expect([third.status, third.body.error.code]).toEqual([503, 'OVERLOADED'])
  expect((await http.call('GET', '/metrics')).status).toBe(200)
  durable.resolve()
  expect((await Promise.all(first)).map(({ status }) => status)).toEqual([202, 202])
  await expect.poll(() => http.load.requests).toBe(0)
  expect((await http.call('POST', '/v1/events', click)).status).toBe(202)
})

test('bodies that are too much together are turned away', async () => {
  await using http = await openHttp({ maxConcurrentBytes: 100 })
  const many = Array.from({ length: 50 }, () => 1)
  expect((await http.call('POST', '/v1/events', many)).status).toBe(503)
  expect((await http.call('POST', '/v1/events', [1])).status).toBe(202)
})

test('while the event loop is late, fewer requests may be under way, then more again', async () => {
  await using http = await openHttp({ maxConcurrent: 64 })
  const durable = Promise.withResolvers<void>()
  http.service.gate = durable.promise
  const click = { userId: 'u', itemId: 'i', type: 'click' }
  const underWay = Array.from({ length: 40 }, () => http.call('POST', '/v1/events', click))
  await expect.poll(() => http.load.requests).toBe(40)
  expect((await http.call('GET', '/v1/items')).status).toBe(200)
  for (let i = 0; i < 3; i += 1) http.load.observe(500)
  expect(http.load.limit).toBe(32)
  expect((await http.call('GET', '/v1/items')).status).toBe(503)
  expect((await http.call('GET', '/health/ready')).status).toBe(200)
  // However slow this machine is: no queue.
  http.load.answered(0)
  for (let i = 0; i < 9; i += 1) http.load.observe(0)
  expect(http.load.limit).toBe(41)
  expect((await http.call('GET', '/v1/items')).status).toBe(200)
  http.load.answered(0)
  for (let i = 0; i < 100; i += 1) http.load.observe(0)
  expect(http.load.limit).toBe(64)
  durable.resolve()
  await Promise.all(underWay)
})

test('while even the quickest answer is slow, fewer requests may be under way', () => {
  const limits = { ...defaultHttpSettings, maxConcurrent: 320, maxEventLoopDelayMs: 100 }
  const load = new LoadGuard(limits, new ManualClock())
  const pass = (...answersMs: readonly number[]): number => {
    for (const ms of answersMs) load.answered(ms)
    for (let i = 0; i < 5; i += 1) load.observe(0)
    return load.limit
  }
  // One quick one says that the others were slow by themselves; nothing was asked: nothing waits.
  expect([pass(900, 25, 700), pass()]).toEqual([320, 320])
  expect([pass(26, 40), pass(30), pass(30)]).toEqual([256, 204, 163])
  expect(pass(3)).toBe(168)
  for (let i = 0; i < 20; i += 1) pass(500)
  expect(load.limit).toBe(32)
  for (let i = 0; i < 20; i += 1) pass(1)
  expect(load.limit).toBe(320)
})

test('what is read late in a turn of the event loop has waited too long for the others', async () => {
  const clock = new ManualClock()
  const load = new LoadGuard({ ...defaultHttpSettings, maxEventLoopDelayMs: 100 }, clock)
  expect(load.overload(0)).toBeUndefined()
  clock.advance(100)
  expect(load.overload(0)).toBeUndefined()
  clock.advance(1)
  expect(load.overload(0)).toBeUndefined()
  load.enter(0)
  expect(load.overload(0)).toBe('event loop delay')
  await new Promise((resolve) => setImmediate(resolve))
  expect(load.overload(0)).toBeUndefined()
})

test('a handler that does not answer in time is answered for', async () => {
  await using http = await openHttp({ requestTimeoutMs: 20 })
  http.service.gate = new Promise(() => {})
  const { status, body } = await http.call('POST', '/v1/events', [
    { userId: 'u', itemId: 'i', type: 'click' },
  ])
  expect([status, body.error.code]).toEqual([503, 'OVERLOADED'])
})

test('what goes wrong in here is 500 without a word of it, and in the log in full', async () => {
  await using http = await openHttp()
  http.service.failure = new TypeError('secret detail')
  const { status, text, body } = await http.call('PUT', '/v1/items/i', {})
  expect([status, body.error.code, body.error.details]).toEqual([500, 'INTERNAL', {}])
  expect(text).not.toContain('secret')
  expect(http.service.lines).toMatchObject([
    {
      level: 'error',
      object: {
        err: { message: 'secret detail' },
        requestId: body.error.requestId,
        route: '/v1/items/:id',
      },
    },
  ])
})

test('what may pass is in the log once a minute for each code, however many meet it', async () => {
  await using http = await openHttp()
  const details = { bytes: 7, directory: 'log' }
  http.service.failure = new ServiceError('LOG_DISK_FULL', details)
  const write = () => http.call('PUT', '/v1/items/i', {})
  for (let i = 0; i < 3; i += 1) expect((await write()).status).toBe(503)
  http.clock.advance(60_000)
  await write()
  http.service.failure = undefined
  expect((await write()).status).toBe(200)
  expect(http.service.lines).toMatchObject([
    { level: 'warn', object: { code: 'LOG_DISK_FULL', route: '/v1/items/:id', requests: 1 } },
    { level: 'warn', object: { code: 'LOG_DISK_FULL', requests: 3 } },
  ])
  expect(http.service.lines[0]?.message).toContain('no space left in log')
})

test('a job is run, and its run can be read', async () => {
  await using http = await openHttp()
  http.scheduler.define('double', ({ value }) => Promise.resolve({ doubled: Number(value) * 2 }))
  const request = { name: 'double', payload: { value: 4 } }
  const { status, body } = await http.call('POST', '/v1/admin/jobs', request)
  expect([status, body.state, body.result]).toEqual([200, 'done', { doubled: 8 }])
  expect((await http.call('GET', '/v1/admin/jobs')).body).toEqual({
    names: ['double'],
    runs: [body],
  })
  expect((await http.call('GET', `/v1/admin/jobs/${body.id}`)).body).toEqual(body)
})

test('a job that takes long is answered before it has ended', async () => {
  await using http = await openHttp()
  const gate = Promise.withResolvers<void>()
  http.scheduler.define('slow', async () => {
    await gate.promise
    return {}
  })
  const request = { name: 'slow', wait: false }
  const { status, body } = await http.call('POST', '/v1/admin/jobs', request)
  expect([status, body.state, body.progress]).toEqual([202, 'running', 0])
  const again = await http.call('POST', '/v1/admin/jobs', request)
  expect([again.status, again.body.error.code]).toEqual([409, 'JOB_BUSY'])
  expect(again.body.error.details['run']).toBe(body.id)
  gate.resolve()
  await expect
    .poll(async () => (await http.call('GET', `/v1/admin/jobs/${body.id}`)).body.state)
    .toBe('done')
})

test('a job that fails is a run that failed', async () => {
  await using http = await openHttp()
  http.scheduler.define('break', () => Promise.reject(new Error('no luck')))
  const { status, body } = await http.call('POST', '/v1/admin/jobs', { name: 'break' })
  expect([status, body.state]).toEqual([200, 'failed'])
  expect(body.error).toContain('no luck')
})

test('a run that fails with an operating error has its code', async () => {
  await using http = await openHttp()
  http.scheduler.define('stopped', () => Promise.reject(new ServiceError('TRAINER_STOPPED', {})))
  const { body } = await http.call('POST', '/v1/admin/jobs', { name: 'stopped' })
  expect([body.state, body.code]).toEqual(['failed', 'TRAINER_STOPPED'])
})

test('restrict is told in the schema, and what makes no sense is 400', async () => {
  await using http = await openHttp()
  const told: unknown[] = []
  http.scheduler.define('restrict', (payload) => {
    told.push(payload)
    return Promise.resolve({ removed: 1, tables: [{ table: 'item', sample: [{ key: 'a' }] }] })
  })
  const payload = { table: 'item', numReserved: 5, trigger: 9, policy: 'combined', dryRun: true }
  const done = await http.call('POST', '/v1/admin/jobs', { name: 'restrict', payload })
  expect([done.status, done.body.state, told]).toEqual([200, 'done', [payload]])
  expect(done.body.result).toMatchObject({ tables: [{ table: 'item' }] })
  for (const [wrong, path] of [
    [{ numReserved: -1 }, 'payload.numReserved'],
    [{ trigger: 0.5 }, 'payload.trigger'],
    [{ policy: 'random' }, 'payload.policy'],
    [{ tabel: 'item' }, 'payload.tabel'],
  ] as const) {
    const request = { name: 'restrict', payload: wrong }
    const { status, body } = await http.call('POST', '/v1/admin/jobs', request)
    const { code, details } = body.error
    expect([status, code, details['path']]).toEqual([400, 'REQUEST_INVALID', path])
  }
  const document = (await http.call('GET', '/openapi.json')).text
  for (const field of ['numReserved', 'dryRun', 'combined']) expect(document).toContain(field)
})

test('jobs and runs that are not there are 404', async () => {
  await using http = await openHttp()
  const job = await http.call('POST', '/v1/admin/jobs', { name: 'none' })
  expect([job.status, job.body.error.code]).toEqual([404, 'JOB_UNKNOWN'])
  const run = await http.call('GET', '/v1/admin/jobs/none')
  expect([run.status, run.body.error.code]).toEqual([404, 'JOB_RUN_UNKNOWN'])
})

interface Operation {
  readonly summary?: string
  readonly responses: Record<string, { content?: Record<string, { schema: unknown }> }>
  readonly requestBody?: { content: Record<string, unknown> }
  readonly parameters?: { name: string; in: string; required?: boolean; schema: object }[]
}

test('the OpenAPI document describes every route, from the schemas that parse', async () => {
  await using http = await openHttp()
  const { status, headers, text } = await http.call('GET', '/openapi.json')
  expect(status).toBe(200)
  expect(headers['content-type']).toContain('application/json')
  const document = JSON.parse(text) as {
    openapi: string
    paths: Record<string, Record<string, Operation>>
    components: { schemas: Record<string, unknown> }
  }
  expect(document.openapi).toBe('3.1.0')
  const routes = Object.entries(document.paths)
    .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`))
    .toSorted()
  expect(routes).toEqual([
    'delete /v1/items/{id}',
    'delete /v1/users/{id}',
    'get /health/live',
    'get /health/ready',
    'get /metrics',
    'get /openapi.json',
    'get /recommend/{id}',
    'get /v1/admin/jobs',
    'get /v1/admin/jobs/{run}',
    'get /v1/items',
    'get /v1/items/{id}',
    'get /v1/items/{id}/embedding',
    'get /v1/items/{id}/similar',
    'get /v1/recommendations',
    'get /v1/recommendations/{id}',
    'get /v1/status',
    'get /v1/users',
    'get /v1/users/{id}',
    'get /v1/users/{id}/embedding',
    'patch /v1/items/{id}',
    'patch /v1/users/{id}',
    'post /v1/admin/jobs',
    'post /v1/admin/jobs/{run}/cancel',
    'post /v1/events',
    'post /v1/items',
    'post /v1/models/user_model:predict',
    'post /v1/rank',
    'post /v1/recommendations',
    'post /v1/recommendations/batch',
    'post /v1/sessions/recommendations',
    'put /v1/items/{id}',
    'put /v1/users/{id}',
  ])
  const get = document.paths['/v1/recommendations/{id}']?.['get']
  expect(get?.parameters).toContainEqual(
    expect.objectContaining({
      name: 'n',
      in: 'query',
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 1_000, default: 10 },
    }),
  )
  expect(Object.keys(get?.responses ?? {})).toEqual(['200', 'default'])
  const events = document.paths['/v1/events']?.['post']
  expect(Object.keys(events?.requestBody?.content ?? {})).toEqual([
    'application/json',
    'application/x-ndjson',
  ])
  expect(Object.keys(document.components.schemas)).toEqual(['Error', 'Event'])
  expect(text.length).toBeLessThan(80_000)
  expect(text).not.toContain('$schema')
})
