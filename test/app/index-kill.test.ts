/** The index of a service that is killed without warning: the next start answers correctly. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { ServiceClient } from '../../src/app/service-client.ts'
import { ChaosService } from '../simulation/chaos-service.ts'
import { Directory, smallShop } from './small-service.ts'

const items = 3_000
const tries = 6_000
const flags = [
  ...smallShop,
  'process.serving.exactBelow=200',
  'process.serving.saveIntervalMs=1000',
  'process.jobs.recallFloor=0',
].flatMap((value) => ['--set', value])

const nameOf = (i: number): string => `item-${i}`
const removed: string[] = []

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < tries; i += 1) {
    if (await isSo()) return
    await pause(10)
  }
  throw new Error('it has not come to that within a minute')
}

class Killed implements AsyncDisposable {
  readonly #directory = new Directory()
  #service: ChaosService | undefined
  client = new ServiceClient('')

  get file(): string {
    return join(this.#directory.path, 'index', 'live.index')
  }

  async start(): Promise<void> {
    const dataDirectory = this.#directory.path
    this.#service = new ChaosService({ dataDirectory, flags, onLog: () => {} })
    this.client = new ServiceClient((await this.#service.address()) ?? '')
    await this.client.waitUntilReady(60_000)
  }

  async kill(): Promise<void> {
    await this.#service?.end('SIGKILL')
  }

  async fill(): Promise<void> {
    const all = Array.from({ length: items }, (_, i) => ({
      id: nameOf(i),
      features: { title: `thing ${i % 70} of ${i % 11}`, categories: [`c${i % 70}`] },
    }))
    for (let at = 0; at < items; at += 1_000) await this.client.sendItems(all.slice(at, at + 1_000))
    const clicks = Array.from({ length: 2_000 }, (_, i) => ({
      kind: 'interaction',
      userId: `user-${i % 40}`,
      itemId: nameOf((i * 7 + (i % 40) * 70) % items),
      type: 'click',
    }))
    for (let at = 0; at < clicks.length; at += 500) {
      await this.client.sendEvents(clicks.slice(at, at + 500))
    }
    await this.treed()
  }

  treed(): Promise<void> {
    return until(async () => (await this.client.metrics()).sum('freshet_index_leaves') > 0)
  }

  async remove(itemId: string): Promise<void> {
    await this.client.sendEvents([{ kind: 'deleteItem', itemId }])
    removed.push(itemId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    this.#directory[Symbol.dispose]()
  }
}

/** Every item but those that were removed can be found, and the best are, once it has learned. */
async function expectSound(killed: Killed): Promise<void> {
  const { client } = killed
  await killed.treed()
  await until(async () => {
    const metrics = await client.metrics()
    return metrics.sum('freshet_trainer_lag_events') + metrics.sum('freshet_facts_lag_events') === 0
  })
  await until(async () => {
    const { result } = await client.runJob('auditRecall')
    expect(result).toMatchObject({ items: items - removed.length })
    return Number(result?.['recall10']) > 0.95
  })
  const answer = await client.recommend('user-1', { n: 1_000 })
  const found = new Set(answer.items.map(({ id }) => id))
  expect(found.size).toBe(1_000)
  for (const id of removed) expect(found).not.toContain(id)
}

test('killed while it saves, embeds anew and takes a tree over', { timeout: 300_000 }, async () => {
  await using killed = new Killed()
  await killed.start()
  await killed.fill()

  await until(() => existsSync(killed.file))
  await killed.remove(nameOf(7))
  while (!existsSync(`${killed.file}.tmp`)) await nextTurn()
  await killed.kill()
  await killed.start()
  await expectSound(killed)

  for (const progress of [0, 0.8]) {
    await killed.remove(nameOf(100 + 10 * progress))
    const { id } = await killed.client.startJob({ name: 'rebuildIndex', wait: false })
    await until(async () => (await killed.client.job(id)).progress >= progress)
    await killed.kill()
    await killed.start()
    await expectSound(killed)
  }
  expect(removed).toHaveLength(3)
})
