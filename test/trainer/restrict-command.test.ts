import { describe, expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import { BatchJournal } from '../../src/stream/files/journal.ts'
import { Trainer } from '../../src/trainer/trainer-loop.ts'
import type { RestrictCommand, RestrictResult } from '../../src/trainer/trainer-status.ts'
import { crashImage } from '../support/crash-image.ts'
import { randomKeys } from '../support/tables.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, trainerModel } from '../support/trainer.ts'

/** Beyond what is restricted at once. */
const many = 140_000

const ownRestrict = {
  policy: 'frequency',
  numReserved: many,
  trigger: many + 500,
  protectedIds: ['item-3'],
} as const

const grown = (spec: TableSpec): TableSpec =>
  spec.name === 'item' ? { ...spec, capacityRows: many + 1000, restrict: ownRestrict } : spec

const grownModel = trainerModel({ tables: trainerModel().tables.map((spec) => grown(spec)) })

/** As large, but no table asks for a restrict of itself. */
const roomy = (spec: TableSpec): TableSpec =>
  spec.name === 'item' ? { ...spec, capacityRows: many + 1000 } : spec

const roomyModel = trainerModel({ tables: trainerModel().tables.map((spec) => roomy(spec)) })

const open = async (log: MemoryLog, directory: string, model = grownModel) => {
  const trainer = await Trainer.create({
    model,
    process: settings(directory),
    reader: log,
    clock: systemClock,
  })
  const keys = randomKeys(3, many)
  const stamp = { time: 1_767_225_600_000, version: 0 }
  await trainer.learner.table('item').findOrInsert(keys, new Float32Array(many * 8), stamp)
  return Object.assign(trainer, { [Symbol.asyncDispose]: () => trainer.close() })
}

const restrict = async (
  trainer: Trainer,
  command: Omit<RestrictCommand, 'kind'>,
  onProgress?: (done: number) => void,
): Promise<RestrictResult> => {
  const result = await trainer.command({ kind: 'restrict', ...command }, onProgress)
  if (result.kind !== 'restrict') throw new Error('another command')
  return result
}

const entriesOf = (directory: string): string[] => {
  const journal = new BatchJournal({ path: `${directory}/journal/batches` })
  const names = [...journal.entries(0)].map(({ entry }) =>
    entry.kind === 'command' ? entry.name : entry.kind,
  )
  journal.close()
  return names
}

describe('on a large table', () => {
  test('restrict goes in steps between batches, and again so in a replay', async () => {
    using directory = temporaryDirectory()
    using image = temporaryDirectory()
    const log = new MemoryLog(shopEvents(600))
    await using live = await open(log, directory.path)
    const stop = new AbortController()
    const running = live.run({ signal: stop.signal })
    const told: number[] = []
    const result = await restrict(live, { table: 'item', numReserved: 20_000 }, (done) =>
      told.push(done),
    )
    expect(told.length).toBeGreaterThan(1)
    expect(told).toEqual(told.toSorted((a, b) => a - b))
    expect(told.every((done) => done >= 0 && done <= 1)).toBe(true)
    expect(told.at(-1)).toBeGreaterThan(0.3)
    const after = live.learner.table('item').size
    expect(result.removed).toBeGreaterThan(119_000)
    expect(result.tables).toMatchObject([{ table: 'item', rows: after }])
    while (live.status().events < 600 || live.status().pendingEvents > 0) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    crashImage(directory.path, image.path)
    const names = entriesOf(image.path)
    const first = names.indexOf('restrictStart')
    const last = names.lastIndexOf('restrictStep')
    expect(names.slice(first, last)).toContain('batch')
    expect(names.filter((name) => name === 'restrictStep').length).toBeGreaterThan(1)
    await using again = await open(log, image.path)
    await again.run({ signal: new AbortController().signal, untilEnd: true })
    expect(await again.learner.digest()).toBe(await live.learner.digest())
    const { keys } = live.learner.model.itemRows('item-3').find((rows) => rows.table === 'item')!
    const present = new Uint8Array(1)
    await live.learner.table('item').find(keys, new Float32Array(8), present)
    expect(present[0]).toBe(1)
    stop.abort()
    await running
  }, 60_000)

  test('what a command began is ended by batches, when nobody waits for it any more', async () => {
    using directory = temporaryDirectory()
    await using live = await open(new MemoryLog(shopEvents(600)), directory.path, roomyModel)
    const limits = { policy: 'frequency', numReserved: 100_000, trigger: 0 } as const
    live.learner.startRestrict('item', limits)
    await live.run({ signal: new AbortController().signal, untilEnd: true })
    expect(live.learner.table('item').isRestricting).toBe(false)
    // Rows that change meanwhile stay; how many batches that are is the clock's to say.
    const changed = 600
    expect(live.learner.table('item').size).toBeLessThanOrEqual(100_000 + changed)
  }, 60_000)

  test('a dry run is in no journal and changes no row', async () => {
    using directory = temporaryDirectory()
    using image = temporaryDirectory()
    const log = new MemoryLog(shopEvents(50))
    await using live = await open(log, directory.path)
    const asked = restrict(live, { table: 'item', numReserved: 100_000, dryRun: true })
    const idle = new AbortController()
    const running = live.run({ signal: idle.signal })
    const result = await asked
    expect(result).toMatchObject({ kind: 'restrict', dryRun: true })
    const [{ before: rows, removed, report }] = result.tables
    expect(removed).toBe(rows - 100_000)
    expect(report?.sample).toHaveLength(20)
    crashImage(directory.path, image.path)
    expect(entriesOf(image.path).filter((name) => name !== 'batch')).toEqual([])
    expect(live.learner.table('item').stats().evicted).toBe(0)
    idle.abort()
    await running
  }, 60_000)
})

test.each([many + 1000, 131_000])('rows past their time to live leave too, %i', async (rows) => {
  const ttl = { policy: 'frequency', numReserved: rows, ttlMs: 1 } as const
  const aging = (spec: TableSpec): TableSpec =>
    spec.name === 'item' ? { ...spec, capacityRows: rows, restrict: ttl } : spec
  const tables = trainerModel().tables.map((spec) => aging(spec))
  using directory = temporaryDirectory()
  const { reader, process } = { reader: new MemoryLog(shopEvents(60)), process: directory.path }
  const trainer = await Trainer.create({
    model: trainerModel({ tables }),
    process: settings(process),
    reader,
    clock: systemClock,
  })
  const table = trainer.learner.table('item')
  const keys = randomKeys(3, 1000)
  await table.findOrInsert(keys, new Float32Array(8000), { time: 5, version: 0 })
  await table.findOrInsert(randomKeys(4, 10), new Float32Array(80), { time: 50, version: 0 })
  const limits = { table: 'item', numReserved: rows, trigger: rows }
  const asked = [restrict(trainer, { ...limits, dryRun: true }), restrict(trainer, limits)]
  await trainer.run({ signal: new AbortController().signal, untilEnd: true, limitEvents: 0 })
  const [dry, done] = await Promise.all(asked)
  expect(dry.tables).toMatchObject([{ before: 1010, removed: 1000, rows: 10 }])
  expect(done.tables).toMatchObject([{ before: 1010, removed: 1000, rows: 10 }])
  await trainer.close()
})

describe('what is left out', () => {
  test('of a table without a policy: how many rows stay must be said', async () => {
    using directory = temporaryDirectory()
    await using live = await open(new MemoryLog(shopEvents(60)), directory.path)
    const refused = restrict(live, { table: 'context' }).catch((error: unknown) => error)
    const fraction = restrict(live, { table: 'context', numReserved: 0.5 }).catch(
      (error: unknown) => error,
    )
    const unknown = restrict(live, { table: 'nowhere' }).catch((error: unknown) => error)
    const done = restrict(live, { table: 'context', numReserved: 1 })
    await live.run({ signal: new AbortController().signal, untilEnd: true })
    expect(await refused).toMatchObject({
      code: 'REQUEST_INVALID',
      details: { path: 'numReserved' },
    })
    expect(await fraction).toMatchObject({ code: 'RESTRICT_INVALID' })
    expect(await unknown).toMatchObject({ code: 'REQUEST_INVALID', details: { path: 'table' } })
    expect((await done).tables).toMatchObject([{ table: 'context', rows: 0, before: 0 }])
  })

  test('without a table, every one that has a policy is restricted by it', async () => {
    using directory = temporaryDirectory()
    await using live = await open(new MemoryLog(shopEvents(60)), directory.path)
    const done = restrict(live, { dryRun: true })
    await live.run({ signal: new AbortController().signal, untilEnd: true })
    expect((await done).tables.map(({ table }) => table)).toEqual(['read', 'item', 'user'])
  })
})
