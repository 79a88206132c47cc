/**
 * What every scheduler must make of the jobs: the same names, the same payloads taken and refused,
 * the same results.
 */
import { expect, test } from 'vitest'

import { defineJobs, type JobDependencies } from '../../src/jobs/jobs.ts'
import type { JobPayload, JobResult } from '../../src/jobs/scheduler.ts'
import type { SchedulerUnderTest } from './scheduler.ts'

const report = { recall10: 0.9, recall100: 0.8, structure10: 0.95, queries: 100, items: 5 }

/** Whoever is asked says what was asked; `told` has what is not in a result. */
function dependencies(told: unknown[]): JobDependencies {
  const due = ['old', 'older']
  return {
    trainer: {
      tables: ['items', 'users'],
      restrict(request, { progress }) {
        progress(0.5)
        const tables = [{ ...request }]
        return Promise.resolve({ dryRun: request.dryRun === true, removed: 3, rows: 7, tables })
      },
      checkpoint: () => Promise.resolve({ name: '000042', modelVersion: 42, bytes: 1_000 }),
      compact: () => Promise.resolve({ steps: 2, rows: 7, bytes: 4_096 }),
      rollBack: (to) => Promise.resolve({ to: String(to) }),
    },
    replicas: {
      replicas: () =>
        Promise.resolve([
          {
            name: 'here',
            audit: () => Promise.resolve(report),
            rebuild: () => Promise.resolve({ items: 5 }),
            expired: () => Promise.resolve(due.splice(0)),
            folded: () => Promise.resolve(true),
          },
        ]),
      deletions: {
        items: (ids) => Promise.resolve(`0:${told.push(ids)}`),
        user: (id) => Promise.resolve(`0:${told.push(id)}`),
      },
      recallFloor: 0,
    },
    log: { trim: () => Promise.resolve({ removedBytes: 512 }) },
    export: {
      tables: ['items', 'users'],
      write: (request) => Promise.resolve({ ...request }),
    },
  }
}

const restricted = { removed: 3, rows: 7 }
const everything = { table: 'users', numReserved: 5, trigger: 9, policy: 'combined', dryRun: true }

const taken: readonly (readonly [string, JobPayload, JobResult])[] = [
  ['restrict', {}, { ...restricted, dryRun: false, tables: [{}] }],
  ['restrict', everything, { ...restricted, dryRun: true, tables: [everything] }],
  ['checkpoint', {}, { name: '000042', modelVersion: 42, bytes: 1_000 }],
  ['rollBack', { to: 42 }, { to: '42' }],
  ['rollBack', { to: '42' }, { to: '42' }],
  ['auditRecall', {}, { ...report, replicas: 1, belowFloor: 0 }],
  ['expire', {}, { removed: 2 }],
  ['rebuildIndex', {}, { items: 5, replicas: 1 }],
  ['rebuildIndex', { replica: 'here' }, { items: 5, replicas: 1 }],
  ['dropUser', { userId: 'u/1' }, { dropped: true, replicas: 1 }],
  ['trimLog', {}, { removedBytes: 512 }],
  ['compact', {}, { steps: 2, rows: 7, bytes: 4_096, removedBytes: 512 }],
  ['export', {}, { format: 'ndjson' }],
  ['export', { table: 'items', format: 'npy' }, { table: 'items', format: 'npy' }],
]

const refused: readonly (readonly [string, JobPayload, string, RegExp])[] = [
  ['rollBack', {}, 'to', /name of a checkpoint/],
  ['rollBack', { to: -1 }, 'to', /name of a checkpoint/],
  ['rollBack', { to: 'newest' }, 'to', /name of a checkpoint/],
  ['restrict', { table: 7 }, 'table', /name of a table/],
  ['restrict', { table: 'nowhere' }, 'table', /there are items, users/],
  ['restrict', { numReserved: -1 }, 'numReserved', /whole number/],
  ['restrict', { numReserved: 2.5 }, 'numReserved', /whole number/],
  ['restrict', { trigger: '9' }, 'trigger', /whole number/],
  ['restrict', { policy: 'random' }, 'policy', /frequency, timestamp, combined/],
  ['restrict', { dryRun: 1 }, 'dryRun', /true or false/],
  ['restrict', { rows: 1 }, 'rows', /no such field/],
  ['checkpoint', { now: true }, 'now', /no such field/],
  ['auditRecall', { k: 10 }, 'k', /no such field/],
  ['expire', { limit: 1 }, 'limit', /no such field/],
  ['rebuildIndex', { now: true }, 'now', /no such field/],
  ['rebuildIndex', { replica: '' }, 'replica', /name of a replica/],
  ['dropUser', {}, 'userId', /id of a user/],
  ['dropUser', { userId: '' }, 'userId', /id of a user/],
  ['dropUser', { userId: 'u', why: 'x' }, 'why', /no such field/],
  ['compact', { table: 'items' }, 'table', /no such field/],
  ['export', { table: 'nowhere' }, 'table', /expected items, users/],
  ['export', { format: 'csv' }, 'format', /expected ndjson, npy/],
]

export function testJobs(open: () => Promise<SchedulerUnderTest>): void {
  test('the jobs have their names, and give their results', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const told: unknown[] = []
    defineJobs(scheduler, dependencies(told))
    scheduler.start()
    expect(scheduler.names()).toEqual([...new Set(taken.map(([name]) => name))])
    for (const [name, payload, result] of taken) {
      const run = await scheduler.run(name, payload)
      expect(run).toMatchObject({ name, payload, state: 'done', progress: 1 })
      expect(run.result).toEqual(result)
    }
    expect(told).toEqual([['old', 'older'], 'u/1'])
  })

  test('a payload that makes no sense is refused by its field, before it is a run', async () => {
    await using subject = await open()
    const { scheduler } = subject
    defineJobs(scheduler, dependencies([]))
    scheduler.start()
    for (const [name, payload, field, reason] of refused) {
      await expect(scheduler.run(name, payload)).rejects.toMatchObject({
        code: 'REQUEST_INVALID',
        details: { path: `payload.${field}`, reason: expect.stringMatching(reason) },
      })
    }
    expect(await scheduler.history()).toEqual([])
  })
}
