/** A standby's state in memory: worth as much as one restored late, and nearer to the end. */
import { cpSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { JournalTail } from '../../../src/stream/files/journal-tail.ts'
import { sequenceOf } from '../../../src/trainer/checkpoint/checkpoint.ts'
import { journalPath } from '../../../src/trainer/journal/trainer-journal.ts'
import { RestoreAhead } from '../../../src/trainer/lease/restore-ahead.ts'
import { Trainer } from '../../../src/trainer/trainer-loop.ts'
import type { TrainerCommand, TrainerReport } from '../../../src/trainer/trainer-status.ts'
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

/** A life that ends with a checkpoint after so many events, and begins with some commands. */
async function live(
  directory: string,
  limitEvents: number,
  commands: readonly TrainerCommand[] = [],
): Promise<void> {
  const trainer = await Trainer.create({ ...parts, process: settings(directory) })
  const asked = commands.map((command) => trainer.command(command))
  await trainer.run({ signal: never, untilEnd: true, limitEvents })
  await Promise.all(asked)
  await trainer.close()
}

/** The same, ended by a kill: it leaves its journal, and no checkpoint. */
async function liveUntilKilled(...[directory, ...life]: Parameters<typeof live>): Promise<void> {
  using copy = temporaryDirectory()
  cpSync(directory, copy.path, { recursive: true })
  await live(copy.path, ...life)
  replaceJournal(directory, copy.path)
}

/** By another file, as whoever takes over does. */
function replaceJournal(directory: string, other: string): void {
  const path = journalPath(join(directory, 'journal'))
  cpSync(journalPath(join(other, 'journal')), `${path}.new`)
  renameSync(`${path}.new`, path)
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

const standBy = (directory: string, journal?: JournalTail) =>
  new RestoreAhead({
    model,
    process: settings(directory),
    clock: systemClock,
    openReader: () => Promise.resolve(new MemoryLog(events)),
    ...(journal && { journal }),
  })

const tailOf = (directory: string): JournalTail =>
  new JournalTail(journalPath(join(directory, 'journal')))

/** What a standby has that has had time enough. */
async function followedIn(directory: string) {
  const ahead = standBy(directory, tailOf(directory))
  await ahead.ready
  return await ahead.finish()
}

const takeOver = (directory: string, prepared: Awaited<ReturnType<RestoreAhead['finish']>>) =>
  Trainer.create({ ...parts, process: settings(directory) }, prepared)

test('what was restored ahead is trained on, to the same bits', async () => {
  using directory = temporaryDirectory()
  await live(directory.path, 200)
  const ahead = standBy(directory.path)
  // Another one trains on, and writes its next checkpoint.
  await live(directory.path, 400)
  const prepared = await ahead.finish()
  expect(prepared?.learner.facts.events).toBe(400)
  const expected = await lateDigest(directory.path)
  const trainer = await takeOver(directory.path, prepared)
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
  const trainer = await takeOver(directory.path, prepared)
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

test('who follows the journal begins where the one that was killed has ended', async () => {
  using directory = temporaryDirectory()
  await live(directory.path, 200)
  await liveUntilKilled(directory.path, 400, [{ kind: 'restrict', table: 'user', numReserved: 5 }])
  const prepared = await followedIn(directory.path)
  expect(prepared?.learner.facts.events).toBe(400)
  const expected = await lateDigest(directory.path)
  reports.length = 0
  const trainer = await takeOver(directory.path, prepared)
  expect(trainer.learner).toBe(prepared?.learner)
  expect(reports.map(({ code }) => code)).toContain('journalFollowed')
  expect(await digestAtEnd(trainer)).toBe(expected)
})

test('a checkpoint of the other one that comes later changes nothing for who has followed', async () => {
  using directory = temporaryDirectory()
  await live(directory.path, 200)
  await liveUntilKilled(directory.path, 400)
  const prepared = await followedIn(directory.path)
  await live(directory.path, 500)
  const expected = await lateDigest(directory.path)
  const trainer = await takeOver(directory.path, prepared)
  expect(trainer.learner).toBe(prepared?.learner)
  expect(await digestAtEnd(trainer)).toBe(expected)
})

test('who has followed what the journal does not say any more begins from the checkpoint', async () => {
  using directory = temporaryDirectory()
  using other = temporaryDirectory()
  await live(directory.path, 200)
  cpSync(directory.path, other.path, { recursive: true })
  await liveUntilKilled(directory.path, 400)
  const prepared = await followedIn(directory.path)
  // Another life from the same checkpoint, with another entry first.
  await live(other.path, 450, [{ kind: 'restrict', table: 'user', numReserved: 5 }])
  replaceJournal(directory.path, other.path)
  const expected = await lateDigest(directory.path)
  const trainer = await takeOver(directory.path, prepared)
  expect(trainer.learner).not.toBe(prepared?.learner)
  expect(trainer.learner.facts.events).toBe(200)
  expect(await digestAtEnd(trainer)).toBe(expected)
})

test('a way back is left to who takes over', async () => {
  using directory = temporaryDirectory()
  await live(directory.path, 200)
  const [name = ''] = readdirSync(join(directory.path, 'checkpoints'))
  const to = sequenceOf(name) ?? Number.NaN
  await liveUntilKilled(directory.path, 400, [{ kind: 'rollBack', to }])
  const prepared = await followedIn(directory.path)
  expect(prepared?.learner.facts.events).toBe(200)
  const expected = await lateDigest(directory.path)
  const trainer = await takeOver(directory.path, prepared)
  expect(trainer.learner).toBe(prepared?.learner)
  expect(await digestAtEnd(trainer)).toBe(expected)
})
