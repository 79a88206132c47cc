import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { FileLog, type FileLogOptions } from '../../../src/stream/files/file-log.ts'
import { maxRecordEvents } from '../../../src/stream/files/log-segment.ts'
import { openFileLogReader } from '../../../src/stream/files/segment-reader.ts'
import { atOnce, type LogUnderTest, readAll, testEventLog } from '../../contract/event-log.ts'
import { interaction, interactions } from '../../support/events.ts'
import { coded, FaultyFiles } from '../../support/faulty-files.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import { ThreadedReader } from '../../support/threaded-reader.ts'

type Options = Partial<FileLogOptions>

/** A log in a directory of its own; both are gone when the block ends. */
async function openLog(
  options: Options = {},
): Promise<LogUnderTest & { log: FileLog; path: string }> {
  const directory = temporaryDirectory()
  const open = () => FileLog.open({ directory: directory.path, fsync: 'never', ...options })
  let log = await open()
  const first = log
  return {
    log: first,
    reader: first,
    path: directory.path,
    reopen: async () => {
      await log.close()
      log = await open()
      return log
    },
    [Symbol.asyncDispose]: async () => {
      await log.close()
      directory[Symbol.dispose]()
    },
  }
}

describe('file log', () => {
  testEventLog(openLog)
})

describe('file log in many small segments, synced always', () => {
  testEventLog(() => openLog({ segmentBytes: 200, fsync: 'always' }))
})

describe('file log read from another thread', () => {
  testEventLog(async () => {
    const subject = await openLog({ fsync: 'interval' })
    const { endSignal } = subject.log
    const reader = new ThreadedReader({ directory: subject.path, endSignal })
    return {
      log: subject.log,
      reader,
      reopen: () => subject.reopen(),
      [Symbol.asyncDispose]: async () => {
        await reader.terminate()
        await subject[Symbol.asyncDispose]()
      },
    }
  })
})

const allOf = async (log: FileLog) => (await readAll(log, await log.start())).events

test('segments follow each other when they are full', async () => {
  await using subject = await openLog({ segmentBytes: 300 })
  for (let i = 0; i < 50; i += 5) await subject.log.append(interactions(5, i))
  const segments = await subject.log.segments()
  expect(segments.length).toBeGreaterThan(3)
  expect(segments.map(({ first }) => first).slice(1)).toEqual(
    segments.map(({ end }) => end).slice(0, -1),
  )
  expect(segments.every(({ bytes, modifiedAt }) => bytes > 24 && modifiedAt > 0)).toBe(true)
  expect(await allOf(subject.log)).toEqual(interactions(50))
})

test('retention removes whole segments before an offset, never the last', async () => {
  await using subject = await openLog({ segmentBytes: 300 })
  for (let i = 0; i < 50; i += 5) await subject.log.append(interactions(5, i))
  const before = await subject.log.segments()
  await subject.log.truncateBefore('23')
  const [first] = await subject.log.segments()
  expect(first.first).toBeLessThanOrEqual(23)
  expect(first.end).toBeGreaterThan(23)
  expect(first.first).toBeGreaterThan(before[0].first)
  expect(await subject.log.start()).toEqual({ 0: String(first.first) })
  expect(await allOf(subject.log)).toEqual(interactions(50).slice(first.first))
  const expired = subject.log.read({ 0: '0' }, atOnce(1))
  await expect(expired).rejects.toMatchObject({ code: 'LOG_OFFSET_EXPIRED' })

  await subject.log.truncateBefore('1000')
  expect(await subject.log.segments()).toHaveLength(1)
  const again = (await subject.reopen()) as FileLog
  expect(await again.end()).toEqual({ 0: '50' })
})

test('a reader that stands in a removed segment reads on to its end', async () => {
  await using subject = await openLog({ segmentBytes: 300 })
  for (let i = 0; i < 50; i += 5) await subject.log.append(interactions(5, i))
  const [batch] = await subject.log.read(await subject.log.start(), atOnce(2))
  const [{ end } = { end: 0 }] = await subject.log.segments()
  const other = await openFileLogReader({
    directory: subject.path,
    endSignal: subject.log.endSignal,
  })
  await subject.log.truncateBefore(String(end - 1))
  expect((await subject.log.read({ 0: batch.next }, atOnce(3)))[0]?.events).toHaveLength(3)
  await subject.log.truncateBefore('40')
  const late = other.read({ 0: '2' }, atOnce(3))
  await expect(late).rejects.toMatchObject({ code: 'LOG_OFFSET_EXPIRED' })
  await other.close()
})

test('appends that wait for one sync are made durable by the next one together', async () => {
  const files = new FaultyFiles()
  await using subject = await openLog({ fsync: 'always', files })
  const gate = Promise.withResolvers<undefined>()
  files.gate = gate.promise
  const syncsBefore = files.syncs
  const first = subject.log.append(interactions(1))
  await new Promise((resolve) => setImmediate(resolve))
  const others = Array.from({ length: 9 }, (_, i) => subject.log.append(interactions(1, i + 1)))
  let isDurable = false
  void first.then(() => (isDurable = true))
  await new Promise((resolve) => setImmediate(resolve))
  expect(isDurable).toBe(false)
  expect(await subject.log.end()).toEqual({ 0: '0' })
  gate.resolve(undefined)
  await Promise.all([first, ...others])
  expect(files.syncs - syncsBefore).toBe(2)
  expect(await allOf(subject.log)).toEqual(interactions(10))
})

test('with interval, syncs follow writes on their own; sync and close make sure', async () => {
  const files = new FaultyFiles()
  await using subject = await openLog({ fsync: 'interval', fsyncIntervalMs: 1, files })
  const before = files.syncs
  await subject.log.append(interactions(2))
  await expect.poll(() => files.syncs).toBe(before + 1)
  await subject.log.append(interactions(2, 2))
  await subject.log.sync()
  expect(files.syncs).toBeGreaterThan(before + 1)
})

describe('on a full disk', () => {
  test('an append is refused whole, and there may be room for it later', async () => {
    for (let room = 0; room < 400; room += 13) {
      const files = new FaultyFiles()
      await using subject = await openLog({ files, fsync: room % 2 === 0 ? 'never' : 'always' })
      await subject.log.append(interactions(3))
      files.room = room
      const outcomes = await Promise.allSettled([
        subject.log.append(interactions(5, 3)),
        subject.log.append(interactions(5, 8)),
      ])
      const refused = outcomes.filter(({ status }) => status === 'rejected')
      for (const { reason } of refused as PromiseRejectedResult[]) {
        expect(reason).toMatchObject({ code: 'LOG_DISK_FULL', retryable: true, status: 503 })
      }
      // One group: both or none.
      expect([0, 2]).toContain(refused.length)
      const kept = refused.length === 0 ? 13 : 3
      expect(await allOf(subject.log)).toEqual(interactions(kept))
      files.room = Infinity
      expect(await subject.log.append(interactions(4, kept))).toEqual(
        Array.from({ length: 4 }, (_, i) => String(kept + i)),
      )
      const again = (await subject.reopen()) as FileLog
      expect(await allOf(again)).toEqual(interactions(kept + 4))
    }
  })

  test('a sync that finds no room takes the append back', async () => {
    const files = new FaultyFiles()
    await using subject = await openLog({ files, fsync: 'always' })
    await subject.log.append(interactions(2))
    files.faults.set('sync', coded('ENOSPC'))
    const append = subject.log.append(interactions(2, 2))
    await expect(append).rejects.toMatchObject({ code: 'LOG_DISK_FULL' })
    await subject.log.append(interactions(1, 2))
    const again = (await subject.reopen()) as FileLog
    expect(await allOf(again)).toEqual(interactions(3))
  })

  test('no room for the next segment refuses the append and leaves no segment behind', async () => {
    const files = new FaultyFiles()
    await using subject = await openLog({ files, segmentBytes: 1 })
    await subject.log.append(interactions(2))
    files.room = 10
    const append = subject.log.append(interactions(2, 2))
    await expect(append).rejects.toMatchObject({ code: 'LOG_DISK_FULL' })
    expect(await subject.log.segments()).toHaveLength(1)
    expect(readdirSync(subject.path).filter((name) => name.endsWith('.segment'))).toHaveLength(1)
    files.room = Infinity
    await subject.log.append(interactions(2, 2))
    expect(await allOf(subject.log)).toEqual(interactions(4))
  })

  test('a log cannot be created without room, and says so', async () => {
    const files = new FaultyFiles()
    files.room = 3
    using directory = temporaryDirectory()
    const open = () => FileLog.open({ directory: directory.path, fsync: 'never', files })
    await expect(open()).rejects.toMatchObject({ code: 'LOG_DISK_FULL' })
    files.room = Infinity
    const log = await open()
    await log.close()
  })
})

test('after a failure other than a full disk nothing more is taken', async () => {
  for (const operation of ['write', 'sync'] as const) {
    const files = new FaultyFiles()
    await using subject = await openLog({ files, fsync: 'always' })
    await subject.log.append(interactions(2))
    files.faults.set(operation, coded('EIO'))
    const failed = { code: 'LOG_FAILED', retryable: false }
    await expect(subject.log.append(interactions(2, 2))).rejects.toMatchObject(failed)
    await expect(subject.log.append(interactions(2, 2))).rejects.toMatchObject(failed)
    expect(await allOf(subject.log)).toEqual(interactions(2))
    const again = (await subject.reopen()) as FileLog
    expect(await allOf(again)).toEqual(interactions(2))
  }
})

test('an append that cannot be cut off again fails the log; opening it repairs it', async () => {
  const files = new FaultyFiles()
  const torn: number[] = []
  await using subject = await openLog({ files, onTornTail: ({ bytes }) => torn.push(bytes) })
  await subject.log.append(interactions(2))
  files.room = 50
  files.faults.set('truncate', coded('EIO'))
  const failed = { code: 'LOG_FAILED' }
  await expect(subject.log.append(interactions(2, 2))).rejects.toMatchObject(failed)
  const again = (await subject.reopen()) as FileLog
  expect(torn).toEqual([50])
  expect(await allOf(again)).toEqual(interactions(2))
})

test('a failing background sync fails the log', async () => {
  const files = new FaultyFiles()
  await using subject = await openLog({ files, fsync: 'interval', fsyncIntervalMs: 1 })
  files.faults.set('sync', coded('EIO'))
  await subject.log.append(interactions(1))
  await expect.poll(() => files.faults.size).toBe(0)
  await expect(subject.log.append(interactions(1, 1))).rejects.toMatchObject({ code: 'LOG_FAILED' })
})

test('appends have limits: events, bytes, and how many may wait', async () => {
  await using subject = await openLog({ maxPendingEvents: 10 })
  const tooLarge = { code: 'LOG_APPEND_TOO_LARGE', status: 413 }
  const many = Array.from({ length: maxRecordEvents + 1 }, () => interaction())
  await expect(subject.log.append(many)).rejects.toMatchObject(tooLarge)
  const fat = interaction({ context: { text: 'x'.repeat(17_000_000) } })
  await expect(subject.log.append([fat])).rejects.toMatchObject(tooLarge)
  const first = subject.log.append(interactions(8))
  const refused = subject.log.append(interactions(3, 8))
  await expect(refused).rejects.toMatchObject({ code: 'LOG_OVERLOADED', status: 503 })
  await first
  await subject.log.append(interactions(3, 8))
  expect(await allOf(subject.log)).toEqual(interactions(11))
})

test('an event that cannot be encoded harms no other append', async () => {
  await using subject = await openLog()
  const broken = interaction({ context: { a: 1 } })
  Object.defineProperty(broken.context, 'b', {
    enumerable: true,
    get: () => {
      throw new Error('broken')
    },
  })
  const appends = await Promise.allSettled([
    subject.log.append(interactions(2)),
    subject.log.append([broken]),
    subject.log.append(interactions(2, 2)),
  ])
  expect(appends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(await allOf(subject.log)).toEqual(interactions(4))
})

test('records larger than the read buffer are read', async () => {
  await using subject = await openLog()
  const fat = interaction({ context: { text: 'x'.repeat(3_000_000) } })
  await subject.log.append([fat, interaction()])
  await subject.log.append([interaction(), fat])
  expect(await allOf(subject.log)).toEqual([fat, interaction(), interaction(), fat])
})

test('more readers than cursors are kept open each read everything', async () => {
  await using subject = await openLog({ segmentBytes: 400 })
  for (let i = 0; i < 60; i += 3) await subject.log.append(interactions(3, i))
  const start = await subject.log.start()
  const steps = [1, 2, 3, 4, 5, 6, 7, 8]
  const reads = await Promise.all(steps.map((step) => readAll(subject.log, start, step)))
  for (const { events } of reads) expect(events).toEqual(interactions(60))
})

test('a log at rest can be read without locking it or repairing it', async () => {
  await using subject = await openLog({ segmentBytes: 300 })
  for (let i = 0; i < 30; i += 5) await subject.log.append(interactions(5, i))
  const reader = await openFileLogReader({ directory: subject.path })
  expect((await readAll(reader, await reader.start())).events).toEqual(interactions(30))
  await reader.close()
})

test('a directory that cannot be used is a clear error', async () => {
  using directory = temporaryDirectory()
  const file = join(directory.path, 'file')
  writeFileSync(file, '')
  const unreadable = { code: 'LOG_UNREADABLE' }
  await expect(FileLog.open({ directory: file, fsync: 'never' })).rejects.toMatchObject(unreadable)
  await expect(openFileLogReader({ directory: file })).rejects.toMatchObject(unreadable)
})
