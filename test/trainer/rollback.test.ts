import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import type { Delta } from '../../src/sync/delta.ts'
import type { ParameterPublisher } from '../../src/sync/parameter-sync.ts'
import type { GuardOptions } from '../../src/trainer/guard.ts'
import { Trainer, type TrainerOptions } from '../../src/trainer/trainer-loop.ts'
import type { TrainerReport } from '../../src/trainer/trainer-status.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, trainerModel } from '../support/trainer.ts'

const careful: Partial<GuardOptions> = { warmupBatches: 20, repeats: 3 }
/** Refuses whatever is above the mean: the stream itself makes it ask for rollbacks. */
const nervous = { warmupBatches: 4, repeats: 2, deviations: 0, margin: 0, holdBatches: 4 }

const open = async (
  log: MemoryLog,
  directory: string,
  { guard = careful, ...rest }: Partial<TrainerOptions> & { guard?: Partial<GuardOptions> } = {},
) => {
  const reports: TrainerReport[] = []
  const trainer = await Trainer.create({
    model: trainerModel({ guard }),
    process: settings(directory),
    reader: log,
    clock: systemClock,
    report: (report) => reports.push(report),
    ...rest,
  })
  const codes = (): readonly string[] => reports.map(({ code }) => code)
  return { trainer, reports, codes, [Symbol.asyncDispose]: () => trainer.close() }
}

/** To the end of what there is, and a checkpoint. */
const run = (trainer: Trainer): Promise<void> =>
  trainer.run({ signal: new AbortController().signal, untilEnd: true })

async function keysAndVectors(trainer: Trainer, table: string) {
  const rows = new Map<bigint, readonly number[]>()
  const { dim } = trainer.learner.table(table).spec
  for await (const { keys, vectors } of trainer.learner.table(table).export()) {
    for (const [i, key] of new BigUint64Array(keys.slice().buffer).entries()) {
      rows.set(key, [...vectors.subarray(i * dim, (i + 1) * dim)])
    }
  }
  return rows
}

test('weights that exploded are refused, and those of the last checkpoint come back', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(900)
  const log = new MemoryLog(events.slice(0, 600))
  const deltas: Delta[] = []
  const publisher: ParameterPublisher = {
    publish: (delta) => Promise.resolve(void deltas.push(delta)),
    onResync: () => {},
    close: () => Promise.resolve(),
  }
  await using subject = await open(log, directory.path, { publisher })
  const { trainer } = subject
  await run(trainer)
  const { model } = trainer.learner
  const good = model.weights({ optimizerState: true })
  model.load(good.map((weight) => 1000 * weight + 1000))
  log.events.push(...events.slice(600, 680))
  await run(trainer)
  expect(trainer.learner.guard).toMatchObject({ trips: 3, rollbacks: 1, inRow: 0 })
  expect(subject.codes()).toContain('guardRepeated')
  expect(subject.codes()).toContain('rolledBack')
  expect(Math.max(...model.weights().map(Math.abs))).toBeLessThan(10)
  // No reader has what a delta after the rollback builds on: each takes everything anew.
  expect(deltas.some(({ base }, i) => i > 0 && base > deltas[i - 1].sequence)).toBe(true)
  log.events.push(...events.slice(680))
  await run(trainer)
  expect(trainer.learner.guard.inRow).toBe(0)
})

test('of broken rows none is left, and rows that left since the checkpoint stay away', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(1200).filter(({ kind }) => kind !== 'deleteUser')
  const log = new MemoryLog(events.slice(0, 600))
  await using subject = await open(log, directory.path)
  const { trainer } = subject
  await run(trainer)
  const { learner } = trainer
  const before = await keysAndVectors(trainer, 'user')
  const [{ keys }] = learner.model.userRows('user-3')
  await learner.table('user').assign(keys, new Float32Array(8).fill(NaN), { time: 0, version: 1 })
  const [deleted] = learner.model.userRows('user-5')
  const { timestamp, acceptedAt } = events[599]
  log.events.push({ kind: 'deleteUser', userId: 'user-5', timestamp, acceptedAt })
  // That user never comes back.
  const rest = events.slice(600).filter((one) => !('userId' in one && one.userId === 'user-5'))
  log.events.push(...rest)
  await run(trainer)
  expect(subject.reports.some(({ details }) => details['reason'] === 'rowNotFinite')).toBe(true)
  expect(learner.guard.rollbacks).toBe(1)
  const after = await keysAndVectors(trainer, 'user')
  expect([...after.values()].flat().every(Number.isFinite)).toBe(true)
  const key = new BigUint64Array(deleted.keys.slice().buffer)[0]
  expect([before.has(key), after.has(key)]).toEqual([true, false])
})

test('a restart goes back at the same places to the same checkpoint', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(1500)
  const log = new MemoryLog(events.slice(0, 500))
  await using first = await open(log, directory.path)
  await run(first.trainer)
  await using subject = await open(log, directory.path, { guard: nervous })
  log.events.push(...events.slice(500))
  await run(subject.trainer)
  const { guard } = subject.trainer.learner
  expect(guard.rollbacks).toBeGreaterThan(0)
  // As if killed before the last checkpoint: the journal alone makes the state again.
  const folder = join(directory.path, 'checkpoints')
  rmSync(join(folder, readdirSync(folder).toSorted().at(-1) ?? ''), { recursive: true })
  await using again = await open(log, directory.path, { guard: nervous })
  await run(again.trainer)
  expect(again.codes()).toContain('restored')
  expect(again.trainer.learner.guard).toMatchObject({
    rollbacks: guard.rollbacks,
    trips: guard.trips,
  })
  expect(await again.trainer.learner.digest()).toBe(await subject.trainer.learner.digest())
})

test('without a checkpoint to go back to it says so, once in a row of refusals', async () => {
  const log = new MemoryLog(shopEvents(600))
  await using subject = await open(log, '', { process: settings() })
  await run(subject.trainer)
  const { model } = subject.trainer.learner
  model.load(model.weights().fill(NaN))
  log.events.push(...shopEvents(900, 2))
  await run(subject.trainer)
  expect(subject.trainer.learner.guard.inRow).toBeGreaterThan(20)
  expect(subject.codes().filter((code) => code === 'rollbackImpossible')).toHaveLength(1)
})

test('it goes back when told to, and a restart does so at the same place', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(900)
  const log = new MemoryLog(events.slice(0, 600))
  const stop = new AbortController()
  let [digest, to] = ['', 0]
  {
    await using first = await open(log, directory.path)
    await run(first.trainer)
    to = first.trainer.status().checkpoint?.sequence ?? 0
    const before = await keysAndVectors(first.trainer, 'item')
    log.events.push(...events.slice(600))
    const missing = first.trainer.command({ kind: 'rollBack', to: to + 1_000 })
    const ended = first.trainer.run({ signal: stop.signal })
    await expect(missing).rejects.toThrow(/no whole checkpoint/)
    await expect.poll(() => first.trainer.status().events).toBe(900)
    const changed = await keysAndVectors(first.trainer, 'item')
    expect([...before].some(([key, row]) => changed.get(key)?.join() !== row.join())).toBe(true)
    const done = first.trainer.command({ kind: 'rollBack', to })
    expect(await done).toEqual({ kind: 'rollBack', to })
    const after = await keysAndVectors(first.trainer, 'item')
    for (const [key, row] of after) expect(row).toEqual(before.get(key) ?? row)
    stop.abort()
    await ended
    digest = await first.trainer.learner.digest()
  }
  // As if it had been killed before the last checkpoint.
  const { checkpoints } = settings(directory.path)
  for (const name of readdirSync(checkpoints?.directory ?? '')) {
    const isLater = Number(name.replace(/\D/g, '')) > to
    if (isLater) rmSync(join(checkpoints?.directory ?? '', name), { recursive: true })
  }
  await using second = await open(log, directory.path)
  await run(second.trainer)
  expect(await second.trainer.learner.digest()).toBe(digest)
})
