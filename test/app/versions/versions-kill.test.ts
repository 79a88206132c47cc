/** A service of two versions that is killed without warning, and goes on. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { inspectCheckpoint } from '../../../src/app/inspection.ts'
import { readVersions } from '../../../src/app/versions/version-file.ts'
import { versionOf } from '../../../src/app/versions/version-list.ts'
import { configOf } from '../../../src/app/versions/version-paths.ts'
import type { ExperimentView } from '../../../src/serving/versions/versions-desk.ts'
import { ChaosService } from '../../simulation/chaos-service.ts'
import { smallConfig, smallShop } from '../small-service.ts'
import { byCount, shopEvents, VersionsOverHttp } from './small-versions.ts'

const users = Array.from({ length: 30 }, (_, i) => `user-${i + 1}`)
const clicks = 600

async function start(dataDirectory: string) {
  const flags = [...smallShop, byCount].flatMap((value) => ['--set', value])
  const log: string[] = []
  const child = new ChaosService({ dataDirectory, flags, onLog: (line) => log.push(line) })
  const address = await child.address()
  if (address === undefined) throw new Error(log.join('\n'))
  return { child, versions: new VersionsOverHttp(address) }
}

test(
  'after a kill versions, traffic and counts are as they were',
  { timeout: 300_000 },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'freshet-test-'))
    const config = smallConfig(directory, byCount)
    try {
      const first = await start(directory)
      await first.versions.ask('POST', '/v1/events', shopEvents(clicks))
      await first.versions.ask('POST', '/v1/admin/versions', { name: 'twin', model: config.model })
      await first.versions.ready('twin', 512)
      await first.versions.ask('PATCH', '/v1/admin/versions/twin', { percent: 40 })
      const answers = await Promise.all(users.map((user) => first.versions.recommend(user)))
      const taken = answers.map(({ items: [item] }, i) => ({
        kind: 'interaction',
        userId: users[i],
        itemId: item.id,
        type: 'click',
      }))
      await first.versions.ask('POST', '/v1/events', taken)
      // At once: whether anything of it has been counted is chance.
      await first.child.end('SIGKILL')

      const second = await start(directory)
      await second.versions.ready('twin', 512)
      await second.versions.ready('shop', 512)
      expect(await second.versions.view()).toMatchObject({
        primary: 'shop',
        versions: [{ percent: 60 }, { name: 'twin', percent: 40 }],
      })
      const names = answers.map(({ model }) => model.name)
      const outcomes = await counted(second.versions, users.length)
      for (const name of ['shop', 'twin']) {
        const n = names.filter((one) => one === name).length
        const counts = { answers: n, answersTaken: n, interactions: n, hits: n }
        expect(outcomes.find(({ version }) => version === name)).toMatchObject(counts)
      }
      const none = { ...taken[0], userId: 'nobody' }
      await second.versions.ask('POST', '/v1/events', none)
      await second.child.end('SIGTERM')

      // Both have learned the same log from the same place, kill or not.
      const list = readVersions(directory)
      if (list === undefined) throw new Error('there is no list')
      const [a, b] = await Promise.all(
        ['shop', 'twin'].map((name) => inspectCheckpoint(configOf(config, versionOf(list, name)))),
      )
      expect(a['stateDigest']).toBe(b['stateDigest'])
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  },
)

async function counted(versions: VersionsOverHttp, interactions: number) {
  for (;;) {
    const found = await versions.ask<ExperimentView>('GET', '/v1/admin/experiment')
    const sum = found.versions.reduce((total, row) => total + row.interactions, 0)
    if (sum >= interactions) return found.versions
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
