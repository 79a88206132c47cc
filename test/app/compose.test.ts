import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { describe, expect, test } from 'vitest'

import { startUnlessStopped } from '../../src/app/commands/start.ts'
import { Shop } from '../../src/app/demo/shop.ts'
import { inspectCheckpoint, inspectItem, inspectLog } from '../../src/app/inspection.ts'
import { inspectTable, inspectUser } from '../../src/app/inspection.ts'
import { createLogger } from '../../src/app/telemetry.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Directory, smallConfig, startSmall } from './small-service.ts'

const click = (userId: string, itemId: string) => ({
  kind: 'interaction',
  userId,
  itemId,
  type: 'click',
  context: { device: 'phone' },
})

const toItem = ({ itemId, title, categories }: Shop['catalogue'][number]) => ({
  id: itemId,
  features: { title, categories },
  attributes: { title },
})

describe('the service in one process', { timeout: 60_000 }, () => {
  test('takes events, learns, recommends, and goes on after a restart', async () => {
    using directory = new Directory()
    const config = smallConfig(directory.path)
    const shop = new Shop({ seed: 1, users: 50, items: 200 })
    const first = await startSmall(config)
    await first.client.waitUntilReady(10_000)
    await first.client.sendItems(shop.catalogue.map(toItem))
    const clicks = Array.from({ length: 600 }, () => shop.next()).filter(
      (event) => event.kind === 'interaction',
    )
    const sent = clicks.map(({ userId, itemId }) => click(userId, itemId))
    const { accepted, rejected, offset } = await first.client.sendEvents(sent)
    expect([accepted, rejected]).toEqual([sent.length, []])
    const { items } = await first.client.recommend('user-1', {
      n: 10,
      minSequence: offset ?? undefined,
    })
    expect(items).toHaveLength(10)
    await first.settled(sent.length)
    const metrics = await first.client.metrics()
    expect(metrics.sum('freshet_trainer_examples_total')).toBe(sent.length)
    expect(metrics.sum('freshet_evaluation_window_examples')).toBeGreaterThan(0)
    const report = await first.service.stop()
    expect(report).toMatchObject({ examples: sent.length, events: sent.length + 200 })

    const second = await startSmall(config)
    await second.client.waitUntilReady(10_000)
    const again = await second.client.recommend('user-1', { n: 10 })
    expect(again.items.map(({ id }) => id).toSorted()).toHaveLength(10)
    expect((await second.client.metrics()).sum('freshet_trainer_examples_total')).toBe(sent.length)
    await second.service.stop()

    await looksInside(config, sent.length)
  })

  test('runs its jobs when asked', async () => {
    using directory = new Directory()
    const config = smallConfig(
      directory.path,
      'process.log.segmentBytes=4096',
      'process.log.retentionBytes=4096',
      'process.checkpoints.keep=1',
    )
    const { client, service, settled } = await startSmall(config)
    await client.waitUntilReady(10_000)
    await client.sendItems([
      { id: 'gone', expiresAt: Date.now() - 1_000 },
      { id: 'here', features: { title: 'a lamp' } },
    ])
    for (let i = 0; i < 20; i += 1) {
      await client.sendEvents(Array.from({ length: 40 }, (_, j) => click(`u${j}`, 'here')))
    }
    await settled()
    expect(await client.runJob('restrict')).toMatchObject({ state: 'done', result: { removed: 0 } })
    expect(await client.runJob('expire')).toMatchObject({ state: 'done', result: { removed: 1 } })
    expect(await client.runJob('auditRecall')).toMatchObject({ result: { recall10: 1 } })
    await settled()
    expect(await client.runJob('checkpoint')).toMatchObject({ state: 'done' })
    const trimmed = await client.runJob('trimLog')
    expect(trimmed).toMatchObject({ state: 'done' })
    await service.stop()
  })
})

describe('a process with some of the roles', { timeout: 60_000 }, () => {
  test('takes events, then learns them, then answers: one role after the other', async () => {
    using directory = new Directory()
    const start = (roles: string) =>
      startSmall(smallConfig(directory.path, `process.roles=[${roles}]`))
    const clicks = Array.from({ length: 200 }, (_, i) => click(`u${i % 20}`, `i${i % 30}`))

    const door = await start('ingest')
    expect(await door.client.sendEvents(clicks)).toMatchObject({ accepted: 200, rejected: [] })
    expect(await door.client.isReady()).toBe(true)
    await expect(door.client.recommend('u1', { n: 1 })).rejects.toThrow(/ROUTE_UNKNOWN/)
    await expect(door.client.runJob('checkpoint')).rejects.toThrow(/ROUTE_UNKNOWN/)
    await door.service.stop()

    const school = await start('trainer, jobs')
    await school.settled(200)
    await expect(school.client.sendEvents(clicks)).rejects.toThrow(/ROUTE_UNKNOWN/)
    expect(await school.client.runJob('checkpoint')).toMatchObject({ state: 'done' })
    await expect(school.client.runJob('auditRecall')).rejects.toThrow(/JOB_UNKNOWN/)
    expect(await school.service.stop()).toMatchObject({ examples: 200, items: 30, users: 20 })

    const desk = await start('trainer, serving')
    await desk.client.waitUntilReady(10_000)
    const { items, model } = await desk.client.recommend('u1', { n: 5 })
    expect([items.length, model.version > 0]).toEqual([5, true])
    await expect(desk.client.sendEvents(clicks)).rejects.toThrow(/ROUTE_UNKNOWN/)
    await desk.service.stop()
  })

  test('answers only where parameters can reach it', () => {
    expect(() => smallConfig('data', 'process.roles=[serving, ingest]')).toThrow(/needs "trainer"/)
    expect(() => smallConfig('data', 'process.roles=[cook]')).toThrow(/process.roles\[0\]/)
  })
})

/** What `freshet inspect` shows of a data directory. */
async function looksInside(config: ReturnType<typeof smallConfig>, examples: number) {
  expect(await inspectCheckpoint(config)).toMatchObject({ examples, damaged: [] })
  const log = await inspectLog(config, { from: 200, limit: 3 })
  expect(log).toMatchObject({
    start: '0',
    events: [{ offset: '200', kind: 'interaction' }, {}, {}],
  })
  expect(await inspectLog(config, { from: undefined, limit: 0 })).toMatchObject({ events: [] })
  expect(await inspectItem(config, 'item-1')).toMatchObject({ id: 'item-1' })
  expect(await inspectUser(config, 'user-1')).toMatchObject({ userId: 'user-1' })
  const query = { table: 'item', itemId: 'item-1', userId: undefined }
  expect(await inspectTable(config, query)).toMatchObject({ name: 'item', found: [{}] })
  await expect(inspectItem(config, 'none')).rejects.toMatchObject({ code: 'ITEM_UNKNOWN' })
  await expect(inspectUser(config, 'none')).rejects.toMatchObject({ code: 'USER_UNKNOWN' })
  await expect(inspectTable(config, { ...query, table: 'itm' })).rejects.toThrow(/did you mean/)
}

describe('what cannot start', { timeout: 60_000 }, () => {
  test('a second service on the same data directory', async () => {
    using directory = new Directory()
    const config = smallConfig(directory.path)
    const { service } = await startSmall(config)
    await expect(startSmall(config)).rejects.toMatchObject({ code: 'LOG_LOCKED' })
    await service.stop()
  })

  test('on a busy port; what was started is stopped, and the directory is free again', async () => {
    using directory = new Directory()
    const other = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as AddressInfo
    const busy = smallConfig(directory.path, `process.http.port=${port}`)
    await expect(startSmall(busy)).rejects.toMatchObject({ code: 'HTTP_PORT_BUSY' })
    other.close()
    const { service } = await startSmall(smallConfig(directory.path))
    await service.stop()
  })

  test('on a checkpoint of another model, which names what differs', async () => {
    using directory = new Directory()
    const { client, service } = await startSmall(smallConfig(directory.path))
    await client.sendEvents([click('u', 'i')])
    await service.stop()
    const other = smallConfig(
      directory.path,
      'process.versions.onChange=refuse',
      'model.tables.user.optimizer.rate=0.5',
    )
    await expect(startSmall(other)).rejects.toMatchObject({
      code: 'CHECKPOINT_INCOMPATIBLE',
      message: expect.stringContaining('optimizer.rate'),
    })
  })

  test('without keys on an address that others can reach', async () => {
    using directory = new Directory()
    const open = smallConfig(directory.path, 'process.http.host=0.0.0.0')
    await expect(startSmall(open)).rejects.toMatchObject({ code: 'HTTP_KEYS_REQUIRED' })
  })

  test('when it is told to stop before it has started, and then leaves nothing behind', async () => {
    using directory = new Directory()
    const config = smallConfig(directory.path)
    const logger = createLogger({ level: 'silent', redactIds: false })
    const signal = AbortSignal.timeout(30)
    const options = { clock: systemClock, logger, signal }
    expect(await startUnlessStopped(config, options)).toBeUndefined()
    const { service } = await startSmall(config)
    await service.stop()
  })

  test('in a directory without a checkpoint there is nothing to inspect', async () => {
    using directory = new Directory()
    await expect(inspectCheckpoint(smallConfig(directory.path))).rejects.toMatchObject({
      code: 'CHECKPOINT_MISSING',
    })
  })
})
