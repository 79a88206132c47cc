/**
 * The distributed shape on every kind of Redis that `process.redis` can name: a whole process learns,
 * answers and runs jobs there, from a configuration file to the end.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'

import { startFreshet } from '../../src/app/compose.ts'
import { loadConfig, parseOverride } from '../../src/app/config/config.ts'
import { ServiceClient } from '../../src/app/service-client.ts'
import { createLogger } from '../../src/app/telemetry.ts'
import { systemClock } from '../../src/base/clock.ts'
import { anyBroker, makeTopic } from '../support/kafka-server.ts'
import {
  makeCertificate,
  RedisServer,
  startCluster,
  startSentinel,
  until,
  tlsConfig,
} from '../support/redis-server.ts'
import { smallShop } from './small-service.ts'

let broker: Awaited<ReturnType<typeof anyBroker>>
beforeAll(async () => {
  broker = await anyBroker()
}, 120_000)
afterAll(() => broker[Symbol.asyncDispose]())

/** A process with every role, whose configuration file has this as `process.redis`. */
async function start(redis: object) {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-redis-shape-'))
  const topic = await makeTopic(broker.address, 2)
  const file = join(directory, 'freshet.yaml')
  const kafka = { brokers: [broker.address], topic }
  const shop = parse(readFileSync('configs/shop.yaml', 'utf8')) as Record<string, object>
  const more = { shape: 'distributed', kafka, redis }
  writeFileSync(file, stringify({ ...shop, process: { ...shop['process'], ...more } }))
  const overrides = [`process.dataDirectory=${directory}`, 'process.http.port=0', ...smallShop]
  const { config } = loadConfig({
    file,
    environment: {},
    overrides: overrides.map(parseOverride),
  })
  const log: string[] = []
  const logger = createLogger({ level: 'info', redactIds: false }, (line) => void log.push(line))
  const { signal } = new AbortController()
  const service = await startFreshet(config, { clock: systemClock, logger, signal })
  const client = new ServiceClient(service.address)
  return {
    log,
    client,
    /**
     * Learns from some clicks, shows them, and runs jobs that ask the trainer and the replica:
     * those that were done.
     */
    async works(round: string): Promise<readonly string[]> {
      const clicks = Array.from({ length: 200 }, (_, i) => ({
        userId: `${round}-${i % 20}`,
        itemId: `item-${i % 40}`,
        type: 'click',
      }))
      const before = await learned(client)
      expect((await client.sendEvents(clicks)).accepted).toBe(clicks.length)
      await until(
        'all of it learned',
        async () => (await learned(client)) >= before + clicks.length,
      )
      await client.waitUntilReady(60_000)
      await until('a model that knows of it', async () => {
        const { items, model } = await client.recommend(`${round}-1`, { n: 5 })
        return items.length === 5 && model.version > 0
      })
      for (const name of jobs) {
        await until(`${name} done`, async () => {
          const run = await client.startJob({ name, key: `${round}-${name}`, wait: true })
          return run.state === 'done'
        })
      }
      const { runs } = await client.jobs(100)
      return jobs.filter((name) => runs.some(({ id }) => id === `${name}-${round}-${name}`))
    },
    async [Symbol.asyncDispose]() {
      await service.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

const jobs = ['checkpoint', 'compact', 'auditRecall', 'rebuildIndex']

const learned = async (client: ServiceClient): Promise<number> =>
  (await client.metrics()).sum('freshet_trainer_examples_total')

const text = ({ host, port }: { host: string; port: number }): string => `${host}:${port}`

test('a master that Sentinels know, and the next one after a fail-over', async () => {
  await using group = await startSentinel()
  const sentinels = [text(group.sentinel.address)]
  await using running = await start({ sentinels, masterName: 'rows' })
  expect(await running.works('before')).toEqual(jobs)
  await group.master.kill()
  expect(await running.works('after')).toEqual(jobs)
}, 240_000)

test('a cluster', async () => {
  await using cluster = await startCluster()
  await using running = await start({ nodes: cluster.servers.map(({ address }) => text(address)) })
  expect(await running.works('once')).toEqual(jobs)
}, 180_000)

/** What `docs/operating.md` says that a user needs. */
const rights =
  '~freshet:* ~{freshet:* +@read +@write +@scripting +@connection -@dangerous +info +time'

test('TLS, and a user that has no more than the documented rights, by a password file', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-tls-'))
  try {
    const { key, cert } = makeCertificate(directory)
    const ca = readFileSync(cert, 'utf8')
    const config = tlsConfig({ key, cert })
    await using secure = await RedisServer.start({ config, client: { tls: { ca } } })
    const passwordFile = join(directory, 'password')
    writeFileSync(passwordFile, 'not-to-be-logged\n')
    await secure.command('ACL', 'SETUSER', 'shop', 'on', '>not-to-be-logged', ...rights.split(' '))
    const url = `rediss://${text(secure.address)}`
    const redis = { url, username: 'shop', passwordFile, tls: { caFile: cert } }
    await using running = await start(redis)
    expect(await running.works('once')).toEqual(jobs)
    expect(await secure.command('ACL', 'LOG')).toEqual([])
    expect(running.log.join('\n')).not.toContain('not-to-be-logged')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}, 180_000)

test('a wrong password ends the trainer, and says so', async () => {
  await using server = await RedisServer.start()
  const url = `redis://${text(server.address)}`
  await using running = await start({ url, username: 'nobody', password: 'wrong' })
  const said = (): string => running.log.join('\n')
  await until('words', () => /LEASE_REFUSED/.test(said()) && /SYNC_REFUSED/.test(said()))
  expect(await running.client.isReady()).toBe(false)
  // Every connection says it at every attempt; the log does not.
  expect(said().match(/trouble with Redis/g)?.length ?? 0).toBeLessThan(10)
}, 120_000)
