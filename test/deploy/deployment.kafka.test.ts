/**
 * What the files of a deployment run, run: entry point, arguments, variables, health checks and
 * signals of the image, around real servers; and what alerts and dashboard look for is there.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'

import { demoKey, type Deployed, ImageFolder, type Variables } from '../support/deployed.ts'
import {
  compose,
  environmentOf,
  expressions,
  isOfVersions,
  resourcesOf,
} from '../support/deployment.ts'
import { redisServerProgram } from '../support/fetch-redis.ts'
import { makeTopic } from '../support/kafka-server.ts'
import { freePort } from '../support/ports.ts'
import { parseExpression } from '../support/promql.ts'
import { until } from '../support/redis-server.ts'
import { S3Server } from '../support/s3-server.ts'
import { brokerAndRedis } from '../support/shared-servers.ts'

const started = brokerAndRedis()
let image: ImageFolder
beforeAll(() => {
  image = new ImageFolder()
}, 240_000)
afterAll(() => image[Symbol.asyncDispose]())

const { services } = compose()
const limitMs = 120_000

/** Where the servers of this test are, in place of the deployment's. */
const placesOf = async (tag: string): Promise<Variables> => ({
  FRESHET_CONFIG: image.smallModel,
  FRESHET_KAFKA_BROKERS: `[${started().broker.address}]`,
  FRESHET_KAFKA_TOPIC: await makeTopic(started().broker.address, 4),
  FRESHET_KAFKA_DEAD_LETTERS_TOPIC: await makeTopic(started().broker.address),
  FRESHET_REDIS_URL: `redis://127.0.0.1:${started().redis.port}/0`,
  FRESHET_REDIS_TAG: tag,
})

async function eventually(
  what: string,
  members: readonly Deployed[],
  isSo: () => Promise<boolean>,
) {
  const limit = performance.now() + limitMs
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > limit) {
      const said = members.map(({ name, log }) => `${name}:\n${log.slice(-8).join('\n')}`)
      throw new Error(`${what}: not in time\n${said.join('\n\n')}`)
    }
    await sleep(200)
  }
}

const clicks = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({
    kind: 'interaction',
    userId: `user ${(from + i) % 40}`,
    itemId: `item ${((from + i) * 7) % 60}`,
    type: 'click',
  }))

const eventsOf = async ({ client }: Deployed): Promise<number> =>
  (await client.metrics()).sum('freshet_trainer_events_total')

/** Names of metrics and their labels, over all processes, as Prometheus keeps them. */
async function metricsOf(members: readonly Deployed[]): Promise<ReadonlyMap<string, Set<string>>> {
  const found = new Map<string, Set<string>>()
  for (const { client } of members) {
    const headers = { authorization: `Bearer ${demoKey}` }
    const text = await (await fetch(`${client.address}/metrics`, { headers })).text()
    for (const [, name = '', labels = ''] of text.matchAll(/^(freshet_\w+)(\{.*\})? /gm)) {
      const known = found.get(name) ?? new Set(['instance', 'job'])
      found.set(name, known)
      for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
        const kept = label === 'job' ? 'exported_job' : label
        known.add(kept).add(`${kept}=${value}`)
      }
    }
  }
  return found
}

/** What expressions ask for and nobody tells: metrics, their labels, and values of labels. */
function missingIn(metrics: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] {
  return expressions().flatMap(([name, text]) => {
    const { selectors, grouping } = parseExpression(text)
    return selectors.flatMap(({ metric, matchers }) => {
      // There is one version here; monitoring.test.ts looks at what several tell.
      if (isOfVersions(metric)) return []
      const found = metrics.get(metric)
      if (found === undefined) return [`${name}: ${metric}`]
      const values = matchers
        // Of a target that this test does not name, and of what has not happened here.
        .filter(([label, operator]) => operator === '=' && !['job', 'state'].includes(label))
        .map(([label, , value]) => `${label}=${value}`)
      const labels = [...matchers.map(([label]) => label), ...grouping, ...values]
      return labels.filter((one) => !found.has(one)).map((one) => `${name}: ${metric} ${one}`)
    })
  })
}

test('the services of the compose file work together, and are watched', async () => {
  const places = await placesOf('compose')
  const data = mkdtempSync(join(tmpdir(), 'freshet-deploy-'))
  const start = (name: string, number = 1) => {
    const service = services[name]
    const variables = {
      ...environmentOf(service),
      ...places,
      FRESHET_JOBS_AUDIT_RECALL_MS: '500',
      FRESHET_CHECKPOINTS_INTERVAL_MS: '500',
      ...(service.volumes.length > 0 && { FRESHET_DATA_DIRECTORY: data }),
    }
    return image.start(`${name} ${number}`, service.command ?? [], variables)
  }
  const trainer = await start('trainer')
  const ingest = await start('ingest')
  const { rejected } = await ingest.client.sendEvents(clicks(0, 400))
  expect(rejected).toEqual([])
  const wrong = await ingest.client.sendEvents([{ kind: 'interaction', userId: '' }])
  expect(wrong.rejected).toHaveLength(1)
  const serving = await Promise.all([start('serving', 1), start('serving', 2)])
  const others = [await start('standby'), await start('jobs')]
  const all = [trainer, ingest, ...serving, ...others]
  await eventually('learned', all, async () => (await eventsOf(trainer)) === 400)
  for (const { client } of serving) {
    expect((await client.recommend('user 1', { n: 5 })).items).toHaveLength(5)
  }
  await expect(
    fetch(`${serving[0].client.address}/v1/users/a`).then(({ status }) => status),
  ).resolves.toBe(401)

  // Everything that alerts and panels ask for is told by one of them, some of it after a while.
  const limit = performance.now() + limitMs
  let missing = missingIn(await metricsOf(all))
  while (missing.length > 0 && performance.now() < limit) {
    await sleep(500)
    missing = missingIn(await metricsOf(all))
  }
  expect(missing).toEqual([])
  for (const one of [ingest, ...serving, ...others, trainer]) {
    expect(await one.end('SIGTERM')).toBe(0)
  }
  rmSync(data, { recursive: true })
}, 600_000)

test('trainers of the manifests go on without a folder in common', async () => {
  await using s3 = await S3Server.start()
  const [map] = resourcesOf('deploy/kubernetes/config.yaml')
  const { data: shared } = z.looseObject({ data: z.record(z.string(), z.string()) }).parse(map)
  const { endpoint = '', bucket, region, credentials } = s3.settings
  const variables = {
    ...shared,
    ...(await placesOf('kubernetes')),
    FRESHET_HTTP_API_KEYS: environmentOf(services['ingest'])['FRESHET_HTTP_API_KEYS'] ?? '',
    FRESHET_CHECKPOINTS_INTERVAL_MS: '1000',
    FRESHET_CHECKPOINTS_S3_ENDPOINT: endpoint,
    FRESHET_CHECKPOINTS_S3_BUCKET: bucket,
    FRESHET_CHECKPOINTS_S3_REGION: region,
    FRESHET_CHECKPOINTS_S3_ACCESS_KEY_ID: credentials?.accessKeyId ?? '',
    FRESHET_CHECKPOINTS_S3_SECRET_ACCESS_KEY: credentials?.secretAccessKey ?? '',
  }
  const folders: string[] = []
  const start = (name: string, role: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'freshet-deploy-'))
    folders.push(folder)
    const own = { ...variables, FRESHET_DATA_DIRECTORY: folder }
    return image.start(name, ['start', '--role', role], own)
  }
  const first = await start('trainer 1', 'trainer')
  const second = await start('trainer 2', 'trainer')
  const ingest = await start('ingest', 'ingest')
  const all = [first, second, ingest]
  await ingest.client.sendEvents(clicks(0, 300))
  await eventually('learned', all, async () => (await eventsOf(first)) === 300)
  await eventually('copied', all, async () => {
    const written = (await first.client.metrics()).sum('freshet_checkpoint_written_total')
    return written > 0
  })
  await ingest.client.sendEvents(clicks(300, 500))
  await eventually('learned on', all, async () => (await eventsOf(first)) === 500)
  await first.end('SIGKILL')
  await ingest.client.sendEvents(clicks(500, 700))
  await eventually('taken over', all, async () => (await eventsOf(second)) === 700)
  const said = second.log.join('\n')
  expect(said).toContain('fetched checkpoint')
  expect(said).not.toContain('journalGap')

  // A replica has no folder at all: it begins with the facts in the bucket.
  const serving = await start('serving', 'serving')
  expect((await serving.client.recommend('user 1', { n: 5 })).items).toHaveLength(5)
  for (const one of [serving, ingest, second]) expect(await one.end('SIGTERM')).toBe(0)
  for (const folder of folders) rmSync(folder, { recursive: true })
}, 600_000)

test('Redis takes the flags of the compose file', async () => {
  const [, ...flags] = services['redis']?.command ?? []
  const directory = mkdtempSync(join(tmpdir(), 'freshet-deploy-'))
  const port = await freePort()
  const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory]
  const server = spawn(redisServerProgram(), [...flags, ...place], { stdio: 'ignore' })
  try {
    const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 100 })
    client.on('error', () => undefined)
    await until('Redis', async () => (await client.ping()) === 'PONG')
    for (const [name, value] of [
      ['maxmemory-policy', 'noeviction'],
      ['appendonly', 'yes'],
      ['appendfsync', 'everysec'],
    ]) {
      expect(await client.config('GET', name)).toEqual([name, value])
    }
    client.disconnect()
  } finally {
    const gone = once(server, 'exit')
    server.kill('SIGKILL')
    await gone
    rmSync(directory, { recursive: true })
  }
})

test('the broker takes the settings of the topics in the compose file', async () => {
  const script = services['topics']?.command?.[0] ?? ''
  const settings = Object.fromEntries(
    [...script.matchAll(/--config ([\w.]+)=(\w+)/g)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  )
  expect(Object.keys(settings)).toHaveLength(3)
  await expect(makeTopic(started().broker.address, 4, settings)).resolves.toMatch(/^events-/)
})
