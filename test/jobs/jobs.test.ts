import { expect, test } from 'vitest'

import { ServiceError } from '../../src/base/errors.ts'
import { defineJobs } from '../../src/jobs/jobs.ts'
import type { JobDependencies } from '../../src/jobs/jobs.ts'
import type { ReplicaCommands } from '../../src/jobs/replica-jobs.ts'
import { TimerScheduler } from '../../src/jobs/timer-scheduler.ts'
import { ManualTimers } from '../support/manual-timers.ts'

const report = { recall10: 0.9, recall100: 0.8, structure10: 0.95, queries: 100, items: 5 }
const silent = new ServiceError('COMMAND_UNANSWERED', { command: 'any', limitMs: 1, reason: '-' })

/** A replica that notes what it is asked; `changes`: what it does otherwise. */
function replica(name: string, asked: unknown[], changes: Partial<ReplicaCommands> = {}) {
  const note = <Answer>(what: string, answer: Answer): Promise<Answer> => {
    asked.push(`${name} ${what}`)
    return Promise.resolve(answer)
  }
  return {
    name,
    audit: () => note('audit', report),
    rebuild: () => note('rebuild', { items: 5 }),
    expired: () => note('expired', []),
    folded: () => note('folded', true),
    ...changes,
  } satisfies ReplicaCommands
}

const refuse = (): Promise<never> => Promise.reject(silent)
const lost: ReplicaCommands = {
  name: 'lost',
  audit: refuse,
  rebuild: refuse,
  expired: refuse,
  folded: refuse,
}

interface Given {
  readonly expiries?: Record<string, number>
  readonly replicas?: readonly ReplicaCommands[]
}

/** Items with an expiry, and a trainer that notes its commands. */
function open({ expiries = {}, replicas }: Given = {}) {
  const timers = new ManualTimers()
  const items = new Map(Object.entries(expiries))
  const commands: unknown[] = []
  const appends: number[] = []
  const expired = (limit: number): Promise<readonly string[]> =>
    Promise.resolve(
      [...items]
        .filter(([, at]) => at <= timers.now())
        .map(([id]) => id)
        .slice(0, limit),
    )
  const dependencies: JobDependencies = {
    trainer: {
      tables: ['items', 'users'],
      restrict: (request) => {
        commands.push(request)
        return Promise.resolve({ dryRun: false, removed: 3, rows: 7, tables: [] })
      },
      checkpoint: () => Promise.resolve({ name: '000042', modelVersion: 42, bytes: 1_000 }),
      compact: () => Promise.resolve({ steps: 2, rows: 7, bytes: 4_096 }),
      rollBack: (to) => Promise.resolve({ to: String(to) }),
    },
    replicas: {
      replicas: () => Promise.resolve(replicas ?? [replica('here', [], { expired })]),
      deletions: {
        items: (ids) => {
          appends.push(ids.length)
          for (const id of ids) items.delete(id)
          return Promise.resolve('0:1')
        },
        user: (userId) => {
          commands.push(userId)
          return Promise.resolve('0:2')
        },
      },
      recallFloor: 0.7,
    },
    log: { trim: () => Promise.resolve({ removedBytes: 512 }) },
    export: {
      tables: ['items', 'users'],
      write: (request, { run }) => {
        commands.push(request)
        return Promise.resolve({ directory: run })
      },
    },
  }
  const scheduler = new TimerScheduler({ clock: timers, timers, historyRuns: 10 })
  defineJobs(scheduler, dependencies)
  scheduler.start()
  return { scheduler, timers, items, commands, appends }
}

test('restrict is a command to the trainer, for one table or all', async () => {
  const { scheduler, commands } = open()
  const run = await scheduler.run('restrict', { table: 'items' })
  await scheduler.run('restrict', {})
  expect(run.result).toEqual({ dryRun: false, removed: 3, rows: 7, tables: [] })
  expect(commands).toEqual([{ table: 'items' }, {}])
})

test('rebuildIndex rebuilds all replicas in turn, or the one that is named', async () => {
  const asked: unknown[] = []
  const replicas = ['a', 'b'].map((name) => replica(name, asked))
  const { scheduler, timers } = open({ replicas })
  const all = await scheduler.run('rebuildIndex', {})
  expect(all.result).toEqual({ items: 5, replicas: 2 })
  await scheduler.run('rebuildIndex', { replica: 'b' })
  expect(asked).toEqual(['a rebuild', 'b rebuild', 'b rebuild'])
  const none = scheduler.run('rebuildIndex', { replica: 'c' })
  await timers.advance(10_000)
  expect(await none).toMatchObject({ state: 'failed', code: 'REPLICA_ABSENT' })
})

test('rebuildIndex says how far it is, over all replicas', async () => {
  const gate = Promise.withResolvers<void>()
  const asked: unknown[] = []
  const replicas = [
    replica('a', asked),
    replica('b', asked, {
      async rebuild({ progress }) {
        progress(0.5)
        await gate.promise
        return { items: 7 }
      },
    }),
  ]
  const { scheduler } = open({ replicas })
  const run = scheduler.run('rebuildIndex', {})
  await expect.poll(async () => (await scheduler.history())[0]?.progress).toBe(0.75)
  gate.resolve()
  expect((await run).result).toEqual({ items: 7, replicas: 2 })
})

test('dropUser has the user deleted, and tells where that shows', async () => {
  const asked: unknown[] = []
  const replicas = [
    replica('a', asked),
    lost,
    replica('behind', asked, { folded: () => Promise.resolve(false) }),
  ]
  const { scheduler, commands } = open({ replicas })
  const { result } = await scheduler.run('dropUser', { userId: 'u/1' })
  expect(result).toEqual({ dropped: true, replicas: 1 })
  expect(commands).toEqual(['u/1'])
})

test('auditRecall tells the lowest recall of all replicas that answer', async () => {
  const low = { ...report, recall10: 0.8, items: 6 }
  const asked: unknown[] = []
  const replicas = [
    replica('a', asked),
    replica('b', asked, { audit: () => Promise.resolve(low) }),
    lost,
  ]
  const run = await open({ replicas }).scheduler.run('auditRecall', {})
  const counts = { queries: 200, items: 6, replicas: 2, belowFloor: 0 }
  expect(run.result).toEqual({ recall10: 0.8, recall100: 0.8, structure10: 0.95, ...counts })
})

test('an audit below the floor begins a rebuild of a replica whose structure is to blame', async () => {
  const asked: unknown[] = []
  const low = { ...report, recall10: 0.69 }
  const replicas = [
    replica('a', asked, { audit: () => Promise.resolve(low) }),
    replica('b', asked, { audit: () => Promise.resolve({ ...low, structure10: 0.6 }) }),
  ]
  const { scheduler } = open({ replicas })
  const { result } = await scheduler.run('auditRecall', {})
  expect(result).toMatchObject({ recall10: 0.69, belowFloor: 1 })
  await expect.poll(() => asked).toEqual(['b rebuild'])
  const rebuilt = (await scheduler.history()).find(({ name }) => name === 'rebuildIndex')
  expect(rebuilt?.payload).toEqual({ replica: 'b' })
})

test('without a replica that answers a run is tried again, and fails then', async () => {
  const { scheduler, timers } = open({ replicas: [lost] })
  const run = scheduler.run('auditRecall', {})
  await timers.advance(10_000)
  expect(await run).toMatchObject({ state: 'failed', code: 'COMMAND_UNANSWERED' })
  const none = open({ replicas: [] })
  const failed = none.scheduler.run('expire', {})
  await none.timers.advance(10_000)
  expect(await failed).toMatchObject({ state: 'failed', code: 'REPLICA_ABSENT' })
})

test('expire asks the next replica where the first is gone', async () => {
  const asked: unknown[] = []
  const replicas = [lost, replica('b', asked)]
  const { scheduler } = open({ replicas })
  expect((await scheduler.run('expire', {})).result).toEqual({ removed: 0 })
  expect(asked).toEqual(['b expired'])
})

test('expire removes the items whose time has come, and no others', async () => {
  const { scheduler, timers, items } = open({
    expiries: { old: 1_000_010, due: 1_000_020, later: 1_000_021 },
  })
  timers.jump(20)
  const run = await scheduler.run('expire', {})
  expect(run.result).toEqual({ removed: 2 })
  expect([...items.keys()]).toEqual(['later'])
})

test('expire with nothing to do appends nothing', async () => {
  const { scheduler, appends } = open({ expiries: { later: 2_000_000 } })
  expect((await scheduler.run('expire', {})).result).toEqual({ removed: 0 })
  expect(appends).toEqual([])
})

test('expire works in chunks', async () => {
  const many = Object.fromEntries(Array.from({ length: 2_500 }, (_, i) => [`item-${i}`, 0]))
  const { scheduler, appends, items } = open({ expiries: many })
  expect((await scheduler.run('expire', {})).result).toEqual({ removed: 2_500 })
  expect(appends).toEqual([1_000, 1_000, 500])
  expect(items.size).toBe(0)
})
