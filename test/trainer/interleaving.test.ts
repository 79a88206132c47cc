/** A log of several partitions: the order in which they took turns is in the journal. */
import { cpSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { LogBatch } from '../../src/stream/event-log.ts'
import { BatchJournal, runsOf } from '../../src/stream/files/journal.ts'
import { EventCursor } from '../../src/trainer/event-cursor.ts'
import { Trainer } from '../../src/trainer/trainer-loop.ts'
import { crashImage } from '../support/crash-image.ts'
import { interactions } from '../support/events.ts'
import { PartitionedLog } from '../support/partitioned-log.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, trainerModel } from '../support/trainer.ts'

const partitions = 4
const events = shopEvents(1_200)
const model = trainerModel()

const open = (directory: string, seed: number) => {
  const process = settings(directory)
  return Trainer.create({
    model,
    process: { ...process, checkpoints: { ...process.checkpoints!, keep: 1_000 } },
    reader: new PartitionedLog(events, partitions, seededRandom(seed)),
    clock: systemClock,
  })
}

/** Trains up to so many events, and leaves in `into` what a SIGKILL then would have left. */
async function life(directory: string, into: string, limitEvents: number): Promise<string> {
  const trainer = await open(directory, limitEvents)
  await trainer.run({ signal: new AbortController().signal, untilEnd: true, limitEvents })
  crashImage(directory, into)
  const digest = await trainer.learner.digest()
  await trainer.close()
  return digest
}

/** Also the first, of before any event, so that the whole journal is kept. */
const checkpointsOf = (directory: string): string[] =>
  readdirSync(join(directory, 'checkpoints')).map((name) => join(directory, 'checkpoints', name))

test('same log and same journal, same bits, in whatever order partitions come', async () => {
  using root = temporaryDirectory()
  const place = (n: number): string => join(root.path, String(n))
  await life(place(0), place(1), 1)
  let digest = ''
  for (const [n, limit] of [300, 750, 1_200].entries()) {
    digest = await life(place(n + 1), place(n + 2), limit)
  }
  const image = place(4)
  // Nothing but the journal tells what happened since the first checkpoint.
  for (const path of checkpointsOf(image).toSorted().slice(1)) rmSync(path, { recursive: true })
  const journal = new BatchJournal({ path: join(image, 'journal', 'batches') })
  const batches = journal
    .entries(journal.first)
    .flatMap(({ entry }) => (entry.kind === 'batch' ? [entry] : []))
  journal.close()
  expect(new Set(batches.flatMap((batch) => runsOf(batch).map(([of]) => of))).size).toBe(4)
  for (const seed of [77, 78]) {
    const again = await open(image, seed)
    const { events: folded } = again.status()
    expect(folded).toBeLessThan(100)
    // Only what the journal has: then the log is at its end.
    await again.run({ signal: new AbortController().signal, untilEnd: true })
    expect(await again.learner.digest()).toBe(digest)
    await again.close()
    for (const path of checkpointsOf(image).toSorted().slice(1)) rmSync(path, { recursive: true })
  }
}, 60_000)

test('without the journal the order is another one, and so are the bits', async () => {
  const digests = await Promise.all(
    [1, 2].map(async (seed) => {
      const reader = new PartitionedLog(events, partitions, seededRandom(seed))
      const parts = { model, process: settings(), reader, clock: systemClock }
      const trainer = await Trainer.create(parts)
      await trainer.run({ signal: new AbortController().signal, untilEnd: true })
      const digest = await trainer.learner.digest()
      await trainer.close()
      return digest
    }),
  )
  expect(digests[0]).not.toBe(digests[1])
})

test('a journal that another trainer has cut is cut anew, and each event is learned once', async () => {
  using root = temporaryDirectory()
  const [own, others, image] = ['own', 'others', 'image'].map((name) => join(root.path, name))
  await life(own, image, 600)
  await life(others, join(root.path, 'unused'), 1_100)
  cpSync(join(others, 'journal'), join(own, 'journal'), { recursive: true })
  const codes: string[] = []
  const trainer = await Trainer.create({
    model,
    process: settings(own),
    reader: new PartitionedLog(events, partitions, seededRandom(3)),
    clock: systemClock,
    report: ({ code }) => void codes.push(code),
  })
  expect(trainer.status().events).toBe(600)
  await trainer.run({ signal: new AbortController().signal, untilEnd: true })
  expect(trainer.status().events).toBe(1_200)
  expect(trainer.status().position).toEqual(
    await new PartitionedLog(events, partitions, seededRandom(1)).end(),
  )
  expect(codes).toContain('journalGap')
  await trainer.close()
}, 60_000)

test('a log of one partition journals no turns', async () => {
  using directory = temporaryDirectory()
  const parts = { model, process: settings(directory.path), clock: systemClock }
  const trainer = await Trainer.create({ ...parts, reader: new MemoryLog(events.slice(0, 200)) })
  await trainer.run({ signal: new AbortController().signal, untilEnd: true })
  await trainer.close()
  const journal = new BatchJournal({ path: join(directory.path, 'journal', 'batches') })
  for (const { entry } of journal.entries(journal.first)) expect(entry).not.toHaveProperty('runs')
  journal.close()
})

test('turns are kept as they are, and stand for every event', () => {
  using directory = temporaryDirectory()
  const journal = new BatchJournal({ path: join(directory.path, 'batches') })
  const entry = {
    kind: 'batch',
    from: { 0: '0:0', 300: '300:0' },
    to: { 0: '0:5', 300: '300:9007199254740991.3' },
    events: 7,
    runs: [
      [300, 2],
      [0, 5],
    ],
  } as const
  journal.append(entry)
  expect(journal.entries(0)).toEqual([{ sequence: 0, entry }])
  journal.close()
})

test('positions that move without an event are taken, and more is asked for', async () => {
  const asked: Record<number, string>[] = []
  const answers: LogBatch[][] = [
    [{ partition: 0, events: [], offsets: [], next: '5' }],
    [{ partition: 1, events: interactions(2), offsets: ['0', '1'], next: '2' }],
    [{ partition: 1, events: [], offsets: [], next: '3' }],
    [],
  ]
  const reader = Object.assign(new MemoryLog(), {
    read: (from: Record<number, string>) => {
      asked.push(from)
      return Promise.resolve(answers.shift() ?? [])
    },
  })
  const cursor = new EventCursor(reader, { 0: '0', 1: '0' }, 10)
  const options = { waitMs: 0, signal: new AbortController().signal }
  expect(await cursor.ready(options)).toBe(true)
  expect(cursor.next()).toEqual(interactions(1)[0])
  expect(cursor.position).toEqual({ 0: '5', 1: '1' })
  expect(cursor.next()).toBeDefined()
  expect(await cursor.ready(options)).toBe(false)
  expect(cursor.position).toEqual({ 0: '5', 1: '3' })
  expect(asked).toHaveLength(4)
})
