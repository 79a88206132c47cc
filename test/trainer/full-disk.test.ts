/** What a trainer does while its journal's disk, a real one, has no room. */
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import { Trainer } from '../../src/trainer/trainer-loop.ts'
import type { TrainerReport } from '../../src/trainer/trainer-status.ts'
import { until } from '../support/shop-replica.ts'
import { smallDisk } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, trainerModel } from '../support/trainer.ts'

const probe = smallDisk(64)
const canMount = probe !== undefined
probe?.[Symbol.dispose]()

/** Takes what is left. */
function fill(directory: string): string {
  const { bavail, bsize } = statfsSync(directory)
  const path = join(directory, 'ballast')
  writeFileSync(path, Buffer.alloc(bavail * bsize))
  return path
}

/** A batch for each event, so that a page of the journal is soon full; counts tries to write. */
async function openTrainer(directory: string, journalDirectory: string) {
  const reports: TrainerReport[] = []
  const subject = { tries: 0, reports }
  const trainer = await Trainer.create({
    model: trainerModel({ batch: { maxExamples: 1, maxAgeMs: 20 } }),
    process: { ...settings(directory), journalDirectory },
    reader: new MemoryLog(shopEvents(300)),
    clock: systemClock,
    report: (report) => reports.push(report),
    mayWrite: () => {
      subject.tries += 1
      return Promise.resolve()
    },
  })
  const isFull = (): boolean => reports.some(({ code }) => code === 'diskFull')
  const close = { [Symbol.asyncDispose]: () => trainer.close() }
  return Object.assign(subject, { trainer, isFull, ...close })
}

const hasLearned = ({ trainer }: { trainer: Trainer }): boolean => {
  const { events, pendingEvents } = trainer.status()
  return events === 300 && pendingEvents === 0
}

test.runIf(canMount)('commands wait for room in the journal, and learning goes on', async () => {
  using disk = smallDisk(64)
  using directory = temporaryDirectory()
  const path = disk?.path ?? ''
  await using subject = await openTrainer(directory.path, path)
  const ballast = fill(path)
  const stop = new AbortController()
  const running = subject.trainer.run({ signal: stop.signal })
  await until(() => subject.isFull())
  const command = subject.trainer.command({ kind: 'checkpoint' })
  const { tries } = subject
  await until(() => subject.tries >= tries + 3)
  rmSync(ballast)
  expect(await command).toMatchObject({ kind: 'checkpoint' })
  await until(() => hasLearned(subject))
  stop.abort()
  await running
  expect(subject.reports.filter(({ code }) => code === 'diskFull')).toHaveLength(1)
})

test.runIf(canMount)('an end does not wait for it: the next start goes on from there', async () => {
  using disk = smallDisk(64)
  using directory = temporaryDirectory()
  const path = disk?.path ?? ''
  const stop = new AbortController()
  let ballast = ''
  {
    await using subject = await openTrainer(directory.path, path)
    ballast = fill(path)
    const running = subject.trainer.run({ signal: stop.signal })
    await until(() => subject.isFull())
    stop.abort()
    await running
    expect(hasLearned(subject)).toBe(false)
  }
  rmSync(ballast)
  await using again = await openTrainer(directory.path, path)
  await again.trainer.run({ signal: new AbortController().signal, untilEnd: true })
  expect(hasLearned(again)).toBe(true)
})
