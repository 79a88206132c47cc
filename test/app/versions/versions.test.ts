import { cpSync, existsSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import type { Config } from '../../../src/app/config/config-schema.ts'
import { inspectCheckpoint } from '../../../src/app/inspection.ts'
import { readVersions } from '../../../src/app/versions/version-file.ts'
import { type VersionList, versionOf } from '../../../src/app/versions/version-list.ts'
import { configOf } from '../../../src/app/versions/version-paths.ts'
import type { ExperimentView, VersionView } from '../../../src/serving/versions/versions-desk.ts'
import { run } from '../../support/cli.ts'
import { Directory, smallConfig, startSmall } from '../small-service.ts'
import { byCount, shopEvents, VersionsOverHttp } from './small-versions.ts'

const clicks = 600
const events = shopEvents(clicks)
/** A table's rate, and so another model. */
const faster = 'model.tables.user.optimizer.rate=0.5'

const users = Array.from({ length: 40 }, (_, i) => `user-${i + 1}`)

function listOf({ path }: Directory): VersionList {
  const list = readVersions(path)
  if (list === undefined) throw new Error('there is no list')
  return list
}

const all = ({ training }: VersionView): boolean => training?.lagEvents === 0

const digestOf = async (of: Config): Promise<unknown> =>
  (await inspectCheckpoint(of))['stateDigest']

describe('versions of one service', { timeout: 300_000 }, () => {
  test('another model learns beside the first, takes its share, and takes over', async () => {
    using directory = new Directory()
    const config = smallConfig(directory.path, byCount)
    const first = await startSmall(config)
    await first.client.waitUntilReady(20_000)
    await first.client.sendEvents(events)
    const before = new VersionsOverHttp(first.service.address)
    expect(await before.view()).toMatchObject({ primary: 'shop', versions: [{ percent: 100 }] })
    expect(existsSync(join(directory.path, 'versions'))).toBe(false)
    expect(existsSync(join(directory.path, 'experiment'))).toBe(false)

    // The same model has the same bits; one that differs says where.
    await before.ask('POST', '/v1/admin/versions', { name: 'twin', model: config.model })
    const { model: bold } = smallConfig(directory.path, byCount, faster)
    await before.ask('POST', '/v1/admin/versions', { name: 'bold', model: bold })
    expect((await before.one('bold')).differs).toEqual([
      expect.stringMatching(/^spec.tables.*rate$/),
      expect.stringMatching(/^tables.*rate$/),
    ])
    await expect(
      before.ask('POST', '/v1/admin/versions', { name: 'more', model: bold }),
    ).rejects.toThrow(/VERSIONS_FULL/)
    for (const model of [{ ...bold, dim: 16 }, { ...bold, dims: 16 }, {}]) {
      const added = before.ask('POST', '/v1/admin/versions', { name: 'none', model })
      await expect(added).rejects.toThrow(/400 .*REQUEST_INVALID.*"path":/)
    }
    await before.ready('twin', 512)
    const { evaluation } = await before.ready('bold', 512)
    expect(evaluation?.model.evaluated).toBeGreaterThan(0)

    // Half of the users, and always the same.
    await before.ask('PATCH', '/v1/admin/versions/bold', { percent: 50 })
    const names = await before.namesFor(users)
    expect([...new Set(names)].toSorted()).toEqual(['bold', 'shop'])
    expect(await before.namesFor(users)).toEqual(names)
    const looked = await before.recommend('user-1', '&version=twin')
    expect(looked.model.name).toBe('twin')
    await expect(before.recommend('user-1', '&version=none')).rejects.toThrow(/VERSION_UNKNOWN/)
    const { overlap } = await before.until('twin', (view) => view.overlap !== undefined)
    expect(overlap?.mean).toBeGreaterThan(0)

    // One call each way.
    await before.ask('POST', '/v1/admin/versions/bold/promote')
    expect(new Set(await before.namesFor(users))).toEqual(new Set(['bold']))
    await before.ask('POST', '/v1/admin/versions/rollback')
    expect(new Set(await before.namesFor(users))).toEqual(new Set(['shop']))
    await expect(before.ask('POST', '/v1/admin/versions/rollback')).rejects.toThrow(
      /VERSION_NONE_BEFORE/,
    )
    await before.ask('POST', '/v1/admin/versions/bold/promote')
    await first.service.stop()

    const second = await startSmall(config)
    await second.client.waitUntilReady(20_000)
    const after = new VersionsOverHttp(second.service.address)
    expect(await after.view()).toMatchObject({ primary: 'bold', previous: 'shop' })
    expect(new Set(await after.namesFor(users))).toEqual(new Set(['bold']))
    // What there is once is the one that answers's.
    await second.client.sendEvents(events.slice(-9))
    await after.until('bold', all)
    const { result } = await second.client.runJob('checkpoint')
    const kept = await after.ask<{ checkpoints: object[] }>('GET', '/v1/admin/checkpoints')
    expect(kept.checkpoints[0]).toMatchObject({ name: result?.['name'] })
    const found = await inspectCheckpoint(configOf(config, versionOf(listOf(directory), 'bold')))
    expect(found['newest']).toBe(Number(result?.['name']))
    await after.ready('shop', clicks)
    await after.ask('DELETE', '/v1/admin/versions/twin')
    await expect(after.ask('DELETE', '/v1/admin/versions/bold')).rejects.toThrow(/VERSION_ANSWERS/)
    expect(existsSync(join(directory.path, 'versions', 'twin'))).toBe(false)
    await second.service.stop()
  })

  test('the model has the same bits with a shadow, which has them too, and without', async () => {
    using directory = new Directory()
    using other = new Directory()
    const config = smallConfig(directory.path, byCount)
    const service = await startSmall(config)
    await service.client.waitUntilReady(20_000)
    const versions = new VersionsOverHttp(service.service.address)
    await service.client.sendEvents(events.slice(0, 300))
    await versions.ask('POST', '/v1/admin/versions', { name: 'twin', model: config.model })
    await service.client.sendEvents(events.slice(300))
    await versions.ready('twin', 512)
    await versions.until('twin', all)
    await versions.until('shop', all)
    await service.service.stop()
    const list = listOf(directory)
    const digest = await digestOf(config)
    expect(await digestOf(configOf(config, versionOf(list, 'twin')))).toBe(digest)

    // The same log, and nobody beside.
    cpSync(join(directory.path, 'log'), join(other.path, 'log'), { recursive: true })
    const alone = smallConfig(other.path, byCount)
    const single = await startSmall(alone)
    await new VersionsOverHttp(single.service.address).until('shop', all)
    await single.service.stop()
    expect(await digestOf(alone)).toBe(digest)
  })

  test('a changed model is a new version beside the old one, which goes on answering', async () => {
    using directory = new Directory()
    const first = await startSmall(smallConfig(directory.path))
    await first.client.waitUntilReady(20_000)
    await first.client.sendEvents(events)
    await first.settled(clicks)
    await first.service.stop()

    const log: string[] = []
    const changed = smallConfig(directory.path, faster)
    const second = await startSmall(changed, log)
    await second.client.waitUntilReady(20_000)
    const versions = new VersionsOverHttp(second.service.address)
    expect(log.join('')).toMatch(/"version":"shop-2","primary":"shop","differs":".*rate/)
    expect(new Set(await versions.namesFor(users))).toEqual(new Set(['shop']))
    // It is ready before it has learned the whole log.
    const { percent } = await versions.until(
      'shop-2',
      ({ state, training }) => state === 'ready' && training?.lagEvents === 0,
    )
    expect(percent).toBe(0)
    await versions.ask('POST', '/v1/admin/versions/shop-2/promote')
    await second.service.stop()

    // Whoever comes back with the old file finds what it left: nothing is added twice.
    const third = await startSmall(smallConfig(directory.path))
    const view = await new VersionsOverHttp(third.service.address).view()
    expect(view).toMatchObject({ primary: 'shop-2', previous: 'shop' })
    expect(view.versions).toHaveLength(2)
    await third.service.stop()
  })
})

test('who answered, and what came of it, is counted by version', { timeout: 300_000 }, async () => {
  using directory = new Directory()
  const config = smallConfig(directory.path)
  const { service, client } = await startSmall(config)
  await client.waitUntilReady(20_000)
  await client.sendEvents(events)
  const versions = new VersionsOverHttp(service.address)
  await versions.ask('POST', '/v1/admin/versions', { name: 'twin', model: config.model })
  await versions.ready('twin', 512)
  await versions.ask('PATCH', '/v1/admin/versions/twin', { percent: 50 })
  const expected: Record<string, object> = {}
  for (const name of ['shop', 'twin']) {
    expected[name] = { version: name, answers: 0, answersTaken: 0, interactions: 0, hits: 0 }
  }
  const took = await Promise.all(users.map((user) => versions.recommend(user)))
  const sent = took.flatMap(({ items, model }, i) => {
    const counts = expected[model.name] as Record<string, number>
    const isTaken = i % 3 === 0
    counts['answers'] += 1
    counts['answersTaken'] += Number(isTaken)
    counts['interactions'] += 2
    counts['hits'] += isTaken ? 1 : 0
    return [isTaken ? items[i % 10].id : 'elsewhere', 'nowhere'].map((itemId) => ({
      kind: 'interaction',
      userId: users[i],
      itemId,
      type: 'click',
    }))
  })
  await client.sendEvents(sent)
  const counted = async (): Promise<ExperimentView> => {
    for (;;) {
      const found = await versions.ask<ExperimentView>('GET', '/v1/admin/experiment')
      const sum = found.versions.reduce((total, { interactions }) => total + interactions, 0)
      if (sum >= sent.length) return found
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const { versions: rows } = await counted()
  const byName = new Map(rows.map((row) => [row.version, row]))
  for (const [name, counts] of Object.entries(expected)) {
    expect(byName.get(name)).toMatchObject(counts)
  }
  const [{ requestId, model }] = took
  const found = await versions.ask<{ answers: readonly object[] }>(
    'GET',
    `/v1/admin/experiment/answers?requestId=${requestId}`,
  )
  expect(found.answers).toMatchObject([{ version: model.name, requestId }])

  const metrics = await client.metrics()
  expect(metrics.sum('freshet_version_up')).toBe(2)
  expect(metrics.sum('freshet_experiment_answers_total')).toBe(users.length)
  expect(metrics.sum('freshet_experiment_interactions_total')).toBe(sent.length)

  const at = ['--address', service.address]
  const shown = await run('versions', 'list', ...at)
  expect(shown.out[1]).toMatch(/^shop +primary +ready +50 % .*\(.*-.*\)/)
  const asked = await run('versions', 'traffic', 'twin', '12.5', ...at, '--json')
  expect(asked.json).toMatchObject({ name: 'twin', percent: 12.5 })
  const promoted = await run('versions', 'promote', 'twin', ...at, '--json')
  expect(promoted.json).toMatchObject({ primary: 'twin', previous: 'shop' })
  const back = await run('versions', 'rollback', ...at, '--json')
  expect(back.json).toMatchObject({ primary: 'shop' })
  const removed = await run('versions', 'remove', 'twin', ...at)
  expect(removed.out).toHaveLength(2)
  await service.stop()
})
