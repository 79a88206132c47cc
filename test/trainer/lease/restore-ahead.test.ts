/** A standby's state in memory: the newest checkpoint's, and worth as much as one restored late. */
import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { RestoreAhead } from '../../../src/trainer/lease/restore-ahead.ts'
import { Trainer } from '../../../src/trainer/trainer-loop.ts'
import type { TrainerReport } from '../../../src/trainer/trainer-status.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, trainerModel } from '../../support/trainer.ts'

const events = shopEvents(600)
/** Batches end by count, and with a life. */
const model = trainerModel({ batch: { maxExamples: 16, maxAgeMs: 3_600_000 } })
const never = new AbortController().signal
const reports: TrainerReport[] = []
const parts = {
  model,
  reader: new MemoryLog(events),
  clock: systemClock,
  report: (report: TrainerReport) => void reports.push(report),
}

/** A life that ends with a checkpoint after so many events. */
async function live(directory: string, limitEvents: number): Promise<void> {
  const trainer = await Trainer.create({ ...parts, process: settings(directory) })
  await trainer.run({ signal: never, untilEnd: true, limitEvents })
  await trainer.close()
}

async function digestAtEnd(trainer: Trainer): Promise<string> {
  await trainer.run({ signal: never, untilEnd: true })
  const digest = await trainer.learner.digest()
  await trainer.close()
  return digest
}

/** Of one that begins when it takes over, with the same files. */
async function lateDigest(directory: string): Promise<string> {
  using copy = temporaryDirectory()
  cpSync(directory, copy.path, { recursive: true })
  return await digestAtEnd(await Trainer.create({ ...parts, process: settings(copy.path) }))
}

const standBy = (directory: string) =>
  new RestoreAhead({ model, process: settings(directory), clock: systemClock })

test('what was restored ahead is trained on, to the same bits', async () => {
  using directory = temporaryDirectory()
  await live(directory.path, 200)
  const ahead = standBy(directory.path)
  // Another one trains on, and writes its next checkpoint.
  await live(directory.path, 400)
  const prepared = await ahead.finish()
  expect(prepared?.learner.facts.events).toBe(400)
  const expected = await lateDigest(directory.path)
  const options = { ...parts, process: settings(directory.path) }
  const trainer = await Trainer.create(options, prepared)
  expect(trainer.learner).toBe(prepared?.learner)
  expect(trainer.status().checkpoint?.sequence).toBe(trainer.learner.step)
  expect(await digestAtEnd(trainer)).toBe(expected)
})

test('where the newest is another one by then, that is restored', async () => {
  using directory = temporaryDirectory()
  await live(directory.path, 200)
  const prepared = await standBy(directory.path).finish()
  await live(directory.path, 400)
  const expected = await lateDigest(directory.path)
  const trainer = await Trainer.create({ ...parts, process: settings(directory.path) }, prepared)
  expect(trainer.learner).not.toBe(prepared?.learner)
  expect(trainer.learner.facts.events).toBe(400)
  expect(await digestAtEnd(trainer)).toBe(expected)
})

test('without a checkpoint that is whole there is nothing, and the take-over says why', async () => {
  using directory = temporaryDirectory()
  expect(await standBy(directory.path).finish()).toBe(undefined)
  await live(directory.path, 200)
  const folder = join(directory.path, 'checkpoints')
  for (const name of readdirSync(folder)) writeFileSync(join(folder, name, 'facts'), 'damaged')
  expect(await standBy(directory.path).finish()).toBe(undefined)
  reports.length = 0
  const trainer = await Trainer.create({ ...parts, process: settings(directory.path) })
  expect(reports.map(({ code }) => code)).toContain('checkpointDamaged')
  await trainer.close()
})
