/**
 * Jobs of the distributed shape as they run: `restrict` and `checkpoint` by the clock while events
 * come in, in two processes of which one is killed again and again.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { Shop } from '../../src/app/demo/shop.ts'
import type { RanJob } from '../../src/app/service-client.ts'
import { BatchJournal } from '../../src/stream/files/journal.ts'
import { eventuallyWithin, Fleet, type Member, type Servers } from '../support/fleet.ts'
import { makeTopic } from '../support/kafka-server.ts'
import { brokerAndRedis } from '../support/shared-servers.ts'

const started = brokerAndRedis()

const limitMs = 120_000
const eventually = eventuallyWithin(limitMs)

async function servers(): Promise<Servers> {
  const topic = await makeTopic(started().broker.address, 2)
  return {
    broker: started().broker.address,
    topic,
    redis: `redis://127.0.0.1:${started().redis.port}`,
  }
}

/** Minutes are seconds here, and a second is the tenth of one. */
const settings = [
  'process.jobs.restrictMs=1000',
  'process.jobs.checkpointMs=5000',
  'process.jobs.expireMs=0',
  'process.jobs.lockMs=1500',
  'process.jobs.historyRuns=1000',
  // A trainer that is held up for a while is not replaced, and keeps its journal.
  'process.trainer.leaseMs=60000',
  'process.checkpoints.intervalMs=600000',
  'process.checkpoints.keep=1000',
  'model.tables.user.restrict={policy: timestamp, numReserved: 20, trigger: 30}',
]
/** Jobs need no log. */
const noBroker = 'process.kafka.brokers=[127.0.0.1:1]'
const never = ['process.jobs.restrictMs=0', 'process.jobs.checkpointMs=0']

/** Writes until told to stop; what was refused is of no interest. */
function feeding({ client }: Member) {
  const stopping = new AbortController()
  const shop = new Shop({ seed: 1, users: 200, items: 100 })
  const done = (async () => {
    while (!stopping.signal.aborted) {
      const clicks = Array.from({ length: 50 }, () => shop.next()).flatMap((event) =>
        event.kind === 'interaction'
          ? [{ kind: 'interaction', userId: event.userId, itemId: event.itemId, type: 'click' }]
          : [],
      )
      await client.sendEvents(clicks).catch(() => undefined)
      await sleep(50)
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await done
    },
  }
}

const runsOf = async ({ client }: Member, name: string): Promise<readonly RanJob[]> =>
  (await client.jobs(1_000)).runs.filter((run) => run.name === name)

const doneOf = async (member: Member, name: string): Promise<number> =>
  (await runsOf(member, name)).filter(({ state }) => state === 'done').length

const ticks = '{freshet:shop}:jobs:ticks'

/** How often the trainer has executed `restrict`, by its own record. */
function restrictsIn(directory: string): number {
  const journal = new BatchJournal({ path: join(directory, 'journal', 'batches') })
  const found = [...journal.entries(journal.first)].filter(
    ({ entry }) => entry.kind === 'command' && entry.name === 'restrict',
  )
  journal.close()
  return found.length
}

test('jobs by the clock go on under load, once each, whoever of their processes is killed', async () => {
  await using fleet = new Fleet(await servers(), settings)
  const door = await fleet.start('ingest', 'ingest')
  const trainer = await fleet.start('trainer', 'trainer')
  // The journal is kept from the first checkpoint on.
  const first = await fleet.start('jobs 0', 'jobs', [...never, noBroker])
  expect(await first.client.runJob('checkpoint')).toMatchObject({ state: 'done' })
  expect(await first.end('SIGTERM')).toBe(0)
  let workers = [await fleet.start('jobs 1', 'jobs'), await fleet.start('jobs 2', 'jobs')]
  {
    await using _ = feeding(door)
    await eventually(fleet, 'runs of both', async () => {
      const [a, b] = [await doneOf(workers[0], 'restrict'), await doneOf(workers[1], 'checkpoint')]
      return a >= 3 && b >= 1
    })

    // In the middle of a run: it waits for the trainer, which is held up.
    trainer.pause()
    let held: RanJob | undefined
    await eventually(fleet, 'a run at work', async () => {
      held = (await runsOf(workers[0], 'restrict')).find(({ state }) => state === 'running')
      return held?.by !== undefined
    })
    const lost = workers.find(({ pid }) => held?.by?.endsWith(`:${pid}`))
    expect(lost).toBeDefined()
    await lost?.end('SIGKILL')
    workers = workers.filter((one) => one !== lost)
    trainer.resume()
    await eventually(fleet, 'the same run ended elsewhere', async () => {
      const run = await workers[0].client.job(held?.id ?? '')
      return run.state === 'done' && run.by !== held?.by && run.progress === 1
    })

    // And the interval goes on with one process; then at any moment, however it hits.
    const before = await doneOf(workers[0], 'restrict')
    await eventually(fleet, 'runs by the other', async () => {
      return (await doneOf(workers[0], 'restrict')) > before + 1
    })
    for (const [i, waitMs] of [130, 470, 910].entries()) {
      workers.push(await fleet.start(`jobs ${i + 3}`, 'jobs'))
      await sleep(waitMs)
      const [victim, ...others] = workers
      await victim.end('SIGKILL')
      workers = others
    }
    const after = await doneOf(workers[0], 'restrict')
    await eventually(fleet, 'runs after all', async () => {
      return (await doneOf(workers[0], 'restrict')) > after + 1
    })
    const metrics = await workers[0].client.metrics()
    expect(metrics.sum('freshet_jobs_finished_total{job="restrict",state="done"}')).toBeGreaterThan(
      0,
    )
    expect(metrics.get('freshet_jobs_queue_runs{job="restrict",state="waiting"}')).toBeDefined()
  }

  for (const worker of workers) expect(await worker.end('SIGTERM')).toBe(0)
  // Another one ends the intervals, and takes over what was under way.
  const last = await fleet.start('the last', 'jobs', never)
  // With no interval and no tick left, no run can begin that has not.
  await eventually(fleet, 'an end of all intervals', async () => {
    const counts = await Promise.all([
      started().redis.command('ZCARD', `${ticks}:repeat`),
      started().redis.command('ZCARD', `${ticks}:delayed`),
      started().redis.command('LLEN', `${ticks}:wait`),
      started().redis.command('LLEN', `${ticks}:active`),
    ])
    return counts.every((count) => count === 0)
  })
  await eventually(fleet, 'an end of all runs', async () => {
    const { runs } = await last.client.jobs(1_000)
    return runs.every(({ state }) => state !== 'running')
  })
  const runs = await runsOf(last, 'restrict')
  expect(runs.filter(({ state }) => state === 'failed')).toEqual([])
  expect(new Set(runs.map(({ id }) => id)).size).toBe(runs.length)
  expect(runs.every(({ progress }) => progress === 1)).toBe(true)
  expect(await trainer.end('SIGTERM')).toBe(0)
  expect(restrictsIn(fleet.trainerDirectory)).toBe(runs.length)
  expect(await doneOf(last, 'checkpoint')).toBeGreaterThan(1)
}, 600_000)

test('a process that has jobs alone runs all of them, wherever it has to ask', async () => {
  await using fleet = new Fleet(await servers(), never)
  const door = await fleet.start('ingest', 'ingest')
  const trainer = await fleet.start('trainer', 'trainer')
  const desks = [
    await fleet.start('serving 1', 'serving'),
    await fleet.start('serving 2', 'serving'),
  ]
  const { client } = await fleet.start('jobs', 'jobs')
  const expiresAt = Date.now() + 3_000
  await door.client.sendItems([{ id: 'short-lived', expiresAt }, { id: 'lasting' }])
  const clicks = Array.from({ length: 200 }, (_, i) => ({
    userId: `user-${i % 40}`,
    itemId: `item-${i % 30}`,
    type: 'click',
  }))
  expect((await door.client.sendEvents(clicks)).accepted).toBe(clicks.length)
  await eventually(fleet, 'learned', async () => {
    const metrics = await trainer.client.metrics()
    return metrics.sum('freshet_trainer_examples_total') === clicks.length
  })
  for (const desk of desks) await desk.client.waitUntilReady(limitMs)
  const done = async (name: string, payload: object = {}): Promise<RanJob> => {
    let run = await client.runJob(name, payload)
    await eventually(fleet, `the end of ${name}`, async () => {
      run = await client.job(run.id)
      return run.state !== 'running'
    })
    return run
  }

  const { names } = await client.jobs(1)
  expect(names.toSorted()).toEqual(
    'auditRecall checkpoint compact dropUser expire export rebuildIndex restrict rollBack'.split(
      ' ',
    ),
  )
  const few = { table: 'user', numReserved: 10 }
  expect(await done('restrict', few)).toMatchObject({
    state: 'done',
    result: { tables: [{ table: 'user', rows: 10 }] },
  })
  expect(await done('compact')).toMatchObject({
    state: 'done',
    result: { rows: expect.any(Number) },
  })
  expect(await done('checkpoint')).toMatchObject({
    state: 'done',
    result: { name: expect.stringMatching(/^\d+$/) },
  })
  expect(await done('export', { table: 'item', format: 'npy' })).toMatchObject({
    state: 'done',
    result: { format: 'npy' },
  })
  expect(await done('auditRecall')).toMatchObject({ state: 'done', result: { replicas: 2 } })
  expect(await done('rebuildIndex')).toMatchObject({ state: 'done', result: { replicas: 2 } })
  await sleep(Math.max(0, expiresAt + 100 - Date.now()))
  expect(await done('expire')).toMatchObject({ state: 'done', result: { removed: 1 } })
  const dropped = await done('dropUser', { userId: 'user-1' })
  expect(dropped).toMatchObject({ state: 'done', result: { dropped: true } })
  for (const { client: desk } of desks) {
    await eventually(fleet, 'the deletions there', async () => {
      const paths = ['items/short-lived', 'users/user-1', 'items/lasting']
      const found = paths.map((path) => fetch(`${desk.address}/v1/${path}`))
      return (await Promise.all(found)).map(({ status }) => status).join() === '404,404,200'
    })
  }

  // A replica that was lost is left out, once it has had its time.
  await desks[0].end('SIGKILL')
  expect(await done('auditRecall')).toMatchObject({ state: 'done', result: { replicas: 1 } })
}, 600_000)
