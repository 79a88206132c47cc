/** Checkpoints of a trainer that hold of tables what has changed since a full one. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { checkpointName, CheckpointStore } from '../../../src/trainer/checkpoint/checkpoint.ts'
import { Trainer } from '../../../src/trainer/trainer-loop.ts'
import { randomKeys } from '../../support/tables.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, trainerModel } from '../../support/trainer.ts'

const events = shopEvents(900)

/** As much of a table rests that a delta is worth while. */
const resting = randomKeys(5, 2_000)
const base = trainerModel()
const model = trainerModel({
  tables: base.tables.map((spec) => Object.assign({}, spec, { capacityRows: 4_000 })),
})

const open = async (directory: string, log: MemoryLog, report: (code: string) => void) => {
  const trainer = await Trainer.create({
    model,
    process: settings(directory),
    reader: log,
    clock: systemClock,
    report: ({ code }) => report(code),
  })
  return Object.assign(trainer, { [Symbol.asyncDispose]: () => trainer.close() })
}

const rest = async (trainer: Trainer): Promise<void> => {
  const vectors = new Float32Array(2_000 * 8).fill(0.5)
  await trainer.learner.table('context').assign(resting, vectors, { time: 1, version: 0 })
}

/** Trains on so many more events, which ends with a checkpoint. */
async function go(trainer: Trainer, log: MemoryLog, more: number): Promise<void> {
  log.events.push(...events.slice(log.events.length, log.events.length + more))
  await trainer.run({ signal: new AbortController().signal, untilEnd: true })
}

const storeOf = (directory: string): CheckpointStore =>
  new CheckpointStore({ directory: join(directory, 'checkpoints'), keep: 9 })

test('every fourth checkpoint is full, and each is what the next start goes on from', async () => {
  using directory = temporaryDirectory()
  const log = new MemoryLog()
  await using trainer = await open(directory.path, log, () => {})
  await rest(trainer)
  await go(trainer, log, 600)
  const store = storeOf(directory.path)
  const isDelta: boolean[] = []
  for (let n = 0; n < 8; n += 1) {
    await go(trainer, log, 6)
    isDelta.push(store.baseOf(store.sequences().at(-1) ?? 0) !== undefined)
    await using again = await open(directory.path, new MemoryLog(log.events), () => {})
    expect(await again.learner.digest()).toBe(await trainer.learner.digest())
  }
  expect(isDelta).toEqual([true, true, true, false, true, true, true, false])
  expect(store.sequences().length).toBeLessThanOrEqual(3)
})

test('from a damaged delta a start goes back to the one before, and on with the journal', async () => {
  using directory = temporaryDirectory()
  const log = new MemoryLog()
  const trainer = await open(directory.path, log, () => {})
  await rest(trainer)
  for (const more of [600, 6, 6]) await go(trainer, log, more)
  const digest = await trainer.learner.digest()
  await trainer.close()
  const newest = checkpointName(storeOf(directory.path).sequences().at(-1) ?? 0)
  writeFileSync(join(directory.path, 'checkpoints', newest, 'delta-item'), 'nonsense')
  const reports: string[] = []
  await using again = await open(directory.path, new MemoryLog(log.events), (code) =>
    reports.push(code),
  )
  expect(reports).toEqual(['checkpointDamaged', 'restored', 'engineChosen'])
  expect(await again.learner.digest()).not.toBe(digest)
  await go(again, log, 0)
  expect(await again.learner.digest()).toBe(digest)
})
