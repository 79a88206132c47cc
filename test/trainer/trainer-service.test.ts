import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'

import { expect, test } from 'vitest'

import type { Event } from '../../src/stream/event.ts'
import { FileLog } from '../../src/stream/files/file-log.ts'
import { LocalSubscriber } from '../../src/sync/local-sync.ts'
import { TrainerService, type TrainerServiceOptions } from '../../src/trainer/trainer-service.ts'
import type { TrainerReport, TrainerStatus } from '../../src/trainer/trainer-status.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { settings, shopEvents, trainerModel } from '../support/trainer.ts'

const never = new AbortController().signal

/** A service over a real log, with the reader's end of its parameters. */
async function open(directory: string, changes: Partial<TrainerServiceOptions> = {}) {
  const log = await FileLog.open({ directory: join(directory, 'log'), fsync: 'never' })
  const { port1, port2 } = new MessageChannel()
  const reports: TrainerReport[] = []
  const failures: unknown[] = []
  const statuses: TrainerStatus[] = []
  const service = new TrainerService({
    model: trainerModel(),
    process: settings(directory),
    log: { kind: 'file', directory: join(directory, 'log'), endSignal: log.endSignal },
    parameters: () => ({ kind: 'port', port: port1 }),
    report: (report) => reports.push(report),
    onStatus: (status) => statuses.push(status),
    onFailure: (error) => failures.push(error),
    ...changes,
  })
  const parameters = new LocalSubscriber(port2)
  return {
    log,
    service,
    parameters,
    reports,
    failures,
    statuses,
    append: (events: readonly Event[]) => log.append(events),
    async [Symbol.asyncDispose]() {
      await service.stop()
      await parameters.close()
      await log.close()
    },
  }
}

async function seen(service: TrainerService, events: number): Promise<void> {
  await expect.poll(() => service.status?.events ?? 0, { timeout: 20_000 }).toBe(events)
}

test('learns from what is appended, publishes it, and goes on after a restart', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(400)
  let step = 0
  {
    await using subject = await open(directory.path)
    let version = 0
    void subject.parameters.subscribe(0, (delta) => {
      version = delta.modelVersion
    })
    await subject.service.start(never)
    await subject.append(events.slice(0, 300))
    await seen(subject.service, 300)
    await expect.poll(() => version, { timeout: 10_000 }).toBeGreaterThan(10)
    await subject.service.drain()
    await subject.service.stop()
    step = subject.service.status?.step ?? 0
    expect(subject.service.status?.checkpoint?.sequence).toBeGreaterThan(0)
  }
  await using again = await open(directory.path)
  await again.service.start(never)
  await expect.poll(() => again.service.status?.step).toBe(step)
  expect(again.reports[0].code).toBe('restored')
  await again.append(events.slice(300))
  await seen(again.service, 400)
  await again.service.drain()
  expect(again.failures).toEqual([])
}, 60_000)

test('one that stood by has its thread and its state when it is started', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(400)
  {
    await using first = await open(directory.path)
    await first.service.start(never)
    await first.append(events.slice(0, 300))
    await seen(first.service, 300)
    await first.service.drain()
  }
  await using second = await open(directory.path)
  await second.service.standBy()
  expect(second.service.status).toBe(undefined)
  await expect(second.service.command({ kind: 'checkpoint' })).rejects.toMatchObject({
    code: 'TRAINER_STOPPED',
  })
  await second.service.start(never)
  await second.append(events.slice(300))
  await seen(second.service, 400)
  await second.service.drain()
  expect(second.reports.map(({ code }) => code)).toContain('restored')
  expect(second.failures).toEqual([])
}, 60_000)

test('one that stood by and is not needed ends', async () => {
  using directory = temporaryDirectory()
  await using subject = await open(directory.path)
  await subject.service.standBy()
  await subject.service.drain()
  expect(subject.failures).toEqual([])
}, 60_000)

test('commands are answered, and refused once it has stopped', async () => {
  using directory = temporaryDirectory()
  await using subject = await open(directory.path)
  await expect(subject.service.command({ kind: 'checkpoint' })).rejects.toMatchObject({
    code: 'TRAINER_STOPPED',
  })
  await subject.service.start(never)
  await subject.append(shopEvents(100))
  await seen(subject.service, 100)
  const restricted = await subject.service.command({ kind: 'restrict', numReserved: 5, trigger: 5 })
  expect(restricted).toMatchObject({ kind: 'restrict' })
  const written = await subject.service.command({ kind: 'checkpoint' })
  expect(written).toMatchObject({ kind: 'checkpoint' })
  const compacted = await subject.service.command({ kind: 'compact' })
  expect(compacted).toMatchObject({ kind: 'compact', steps: 0, rows: expect.any(Number) })
  await expect(
    subject.service.command({ kind: 'restrict', table: 'nowhere' }),
  ).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  await subject.service.drain()
  await expect(subject.service.command({ kind: 'checkpoint' })).rejects.toMatchObject({
    code: 'TRAINER_STOPPED',
  })
}, 60_000)

test('a start that fails says why, with the code', async () => {
  using directory = temporaryDirectory()
  mkdirSync(join(directory.path, 'journal'))
  writeFileSync(join(directory.path, 'journal', 'batches'), 'this is not a journal at all, no')
  await using subject = await open(directory.path)
  await expect(subject.service.start(never)).rejects.toMatchObject({ code: 'JOURNAL_DAMAGED' })
}, 60_000)

test('a start that is given up rejects, and stop leaves nothing running', async () => {
  using directory = temporaryDirectory()
  await using subject = await open(directory.path)
  const giveUp = new AbortController()
  const starting = subject.service.start(giveUp.signal)
  giveUp.abort()
  await expect(starting).rejects.toMatchObject({ code: 'TRAINER_STOPPED' })
  await subject.service.stop()
}, 60_000)

test('a thread that dies is a failure that is told once', async () => {
  using directory = temporaryDirectory()
  const model = trainerModel()
  // Cannot be cloned away: a context table that the model asks for is missing.
  const broken = { ...model, tables: model.tables.slice(0, 3) }
  await using subject = await open(directory.path, { model: broken })
  await subject.service.start(never)
  await subject.append(shopEvents(100))
  await expect.poll(() => subject.failures.length, { timeout: 20_000 }).toBe(1)
  expect(subject.failures[0]).toMatchObject({ code: 'TRAINER_FAILED' })
  await expect(subject.service.command({ kind: 'checkpoint' })).rejects.toMatchObject({
    code: 'TRAINER_FAILED',
  })
  await subject.service.drain()
}, 60_000)
