/** The log is broken in every way a crash or a disk can break it, and opened again. */
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { ServiceError } from '../../../src/base/errors.ts'
import type { Event } from '../../../src/stream/event.ts'
import { FileLog, type TornTail } from '../../../src/stream/files/file-log.ts'
import { segmentHeaderBytes } from '../../../src/stream/files/log-segment.ts'
import { openFileLogReader } from '../../../src/stream/files/segment-reader.ts'
import { atOnce, readAll } from '../../contract/event-log.ts'
import { anyEvent, interactions } from '../../support/events.ts'
import { unsyncedFiles } from '../../support/faulty-files.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

type Fsync = 'always' | 'never'

/** Appends these, and leaves the files; how many events each append ended at. */
async function write(
  path: string,
  appends: readonly (readonly Event[])[],
  { segmentBytes = 1 << 20, fsync = 'always' }: { segmentBytes?: number; fsync?: Fsync } = {},
): Promise<number[]> {
  const log = await FileLog.open({ directory: path, fsync, segmentBytes, files: unsyncedFiles })
  const ends: number[] = [0]
  for (const events of appends) {
    await log.append(events)
    ends.push(ends.at(-1)! + events.length)
  }
  await log.close()
  return ends
}

const segmentsOf = (path: string): string[] =>
  readdirSync(path)
    .filter((name) => name.endsWith('.segment'))
    .toSorted()
    .map((name) => join(path, name))

/** What can be read up to the end or to the first error, and the error. */
async function readable(
  path: string,
): Promise<{ events: Event[]; torn: TornTail[]; code?: string }> {
  const events: Event[] = []
  const torn: TornTail[] = []
  let log: FileLog | undefined
  try {
    const onTornTail = (tail: TornTail) => torn.push(tail)
    log = await FileLog.open({ directory: path, fsync: 'never', onTornTail, files: unsyncedFiles })
    let from = await log.start()
    for (;;) {
      const [batch] = await log.read(from, atOnce(1))
      if (batch === undefined) return { events, torn }
      events.push(...batch.events)
      from = { 0: batch.next }
    }
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    return { events, torn, code: error.code }
  } finally {
    await log?.close()
  }
}

const appends = [interactions(3), interactions(1, 3), interactions(5, 4), interactions(2, 9)]
const all = appends.flat()

test('cut at any byte, everything before the cut is there and the log goes on', async () => {
  using directory = temporaryDirectory()
  const ends = await write(directory.path, appends)
  const [segment] = segmentsOf(directory.path)
  const bytes = readFileSync(segment)
  for (let length = bytes.length; length >= 0; length -= 1) {
    writeFileSync(segment, bytes.subarray(0, length))
    const { events, torn, code } = await readable(directory.path)
    expect(code).toBeUndefined()
    expect(events).toEqual(all.slice(0, events.length))
    expect(ends).toContain(events.length)
    const isWhole = readFileSync(segment).length === length
    expect(torn).toHaveLength(isWhole ? 0 : 1)
    expect(events.length === all.length).toBe(length === bytes.length)
  }
  const log = await FileLog.open({ directory: directory.path, fsync: 'never' })
  await log.append(interactions(2))
  expect((await readAll(log, await log.start())).events).toEqual(interactions(2))
  await log.close()
}, 30_000)

test('with any byte changed, events before it are intact and none is ever wrong', async () => {
  using directory = temporaryDirectory()
  const ends = await write(directory.path, appends)
  const [segment] = segmentsOf(directory.path)
  const bytes = readFileSync(segment)
  const codes = new Set<string | undefined>()
  for (let at = 0; at < bytes.length; at += 1) {
    const broken = Buffer.from(bytes)
    broken[at] ^= 1 << (at % 8)
    writeFileSync(segment, broken)
    const { events, torn, code } = await readable(directory.path)
    codes.add(code)
    expect(events).toEqual(all.slice(0, events.length))
    expect(ends).toContain(events.length)
    // The last record may be one that a crash left unfinished; an earlier one was confirmed.
    const expected = code === undefined ? [ends.at(-2), 1] : [0, 0]
    expect([events.length, torn.length]).toEqual(expected)
  }
  expect(codes).toEqual(new Set([undefined, 'LOG_SEGMENT_DAMAGED']))
}, 30_000)

test('a hole among writes that were never confirmed is a torn end, not damage', async () => {
  using directory = temporaryDirectory()
  const ends = await write(directory.path, appends, { fsync: 'never' })
  const [segment] = segmentsOf(directory.path)
  const bytes = readFileSync(segment)
  bytes[segmentHeaderBytes + 30] ^= 1
  writeFileSync(segment, bytes)
  const { events, torn, code } = await readable(directory.path)
  expect([events, torn.length, code]).toEqual([[], 1, undefined])
  expect(ends.at(-1)).toBe(all.length)
})

test('arbitrary events, cut and changed in arbitrary places', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(anyEvent, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.constantFrom('cut', 'flip', 'zero', 'garbage'),
      fc.constantFrom<Fsync>('always', 'never'),
      async (written, where, damage, fsync) => {
        using directory = temporaryDirectory()
        await write(directory.path, written, { segmentBytes: 120, fsync })
        const segments = segmentsOf(directory.path)
        const segment = segments[Math.floor(where * segments.length)]
        const bytes = readFileSync(segment)
        const at = Math.floor(((where * 7919) % 1) * bytes.length)
        if (damage === 'cut') truncateSync(segment, at)
        else {
          if (damage === 'flip') bytes[at] ^= 0x10
          else bytes.fill(damage === 'zero' ? 0 : 0xa5, at)
          writeFileSync(segment, bytes)
        }
        const { events } = await readable(directory.path)
        expect(events).toStrictEqual(written.flat().slice(0, events.length))
      },
    ),
    { numRuns: 100 },
  )
}, 30_000)

describe('a log of several segments', () => {
  const many = Array.from({ length: 12 }, (_, i) => interactions(5, i * 5))
  const expected = many.flat()

  test('damaged in the middle: a clear error there, everything before is read', async () => {
    using directory = temporaryDirectory()
    await write(directory.path, many, { segmentBytes: 300 })
    const segments = segmentsOf(directory.path)
    const middle = segments[2]
    const bytes = readFileSync(middle)
    bytes[bytes.length - 3] ^= 1
    writeFileSync(middle, bytes)
    const { events, code } = await readable(directory.path)
    expect(code).toBe('LOG_SEGMENT_DAMAGED')
    expect(events.length).toBeGreaterThanOrEqual(Number(/(\d+)\.segment/.exec(middle)![1]))
    expect(events).toEqual(expected.slice(0, events.length))
  })

  test('a middle segment that is cut, empty, headless or missing is a clear error', async () => {
    using directory = temporaryDirectory()
    await write(directory.path, many, { segmentBytes: 300 })
    const segments = segmentsOf(directory.path)
    const middle = segments[2]
    const bytes = readFileSync(middle)
    const first = Number(/(\d+)\.segment/.exec(middle)![1])
    const variants = [
      bytes.subarray(0, -1),
      bytes.subarray(0, segmentHeaderBytes),
      Buffer.concat([Buffer.from('x'), bytes.subarray(1)]),
      undefined,
    ]
    for (const variant of variants) {
      if (variant === undefined) rmSync(middle)
      else writeFileSync(middle, variant)
      const { events, code } = await readable(directory.path)
      expect(code).toBe('LOG_SEGMENT_DAMAGED')
      expect(events.length).toBeGreaterThanOrEqual(first)
      expect(events).toEqual(expected.slice(0, events.length))
    }
  })

  test('a crash while a segment is made leaves a log that opens and goes on', async () => {
    using directory = temporaryDirectory()
    await write(directory.path, many, { segmentBytes: 300 })
    const next = join(directory.path, `${String(60).padStart(16, '0')}.segment`)
    const header = readFileSync(segmentsOf(directory.path)[0]).subarray(0, segmentHeaderBytes)
    for (const left of [
      Buffer.alloc(0),
      header.subarray(0, 10),
      Buffer.alloc(segmentHeaderBytes),
    ]) {
      writeFileSync(next, left)
      const { events, torn, code } = await readable(directory.path)
      expect([events, code, torn.length]).toEqual([expected, undefined, 1])
    }
    const log = await FileLog.open({ directory: directory.path, fsync: 'never' })
    await log.append(interactions(3, 60))
    expect((await readAll(log, await log.start())).events).toEqual(interactions(63))
    await log.close()
  })

  test('segments of another version or another place are refused', async () => {
    using directory = temporaryDirectory()
    await write(directory.path, many, { segmentBytes: 300 })
    const [segment] = segmentsOf(directory.path)
    const strange = temporaryDirectory()
    mkdirSync(join(strange.path, 'log'))
    copyFileSync(segment, join(strange.path, 'log', `${'7'.padStart(16, '0')}.segment`))
    const open = FileLog.open({ directory: join(strange.path, 'log'), fsync: 'never' })
    await expect(open).rejects.toMatchObject({ code: 'LOG_SEGMENT_DAMAGED' })
    strange[Symbol.dispose]()
  })
})

test('a look at a log at rest neither repairs nor trusts its torn end', async () => {
  using directory = temporaryDirectory()
  await write(directory.path, appends)
  const [segment] = segmentsOf(directory.path)
  const bytes = readFileSync(segment)
  writeFileSync(segment, bytes.subarray(0, -1))
  const reader = await openFileLogReader({ directory: directory.path })
  expect((await readAll(reader, await reader.start())).events).toEqual(all.slice(0, 9))
  expect(readFileSync(segment)).toHaveLength(bytes.length - 1)
  await reader.close()
  bytes[segmentHeaderBytes + 2] ^= 1
  writeFileSync(segment, bytes)
  const damaged = openFileLogReader({ directory: directory.path })
  await expect(damaged).rejects.toMatchObject({ code: 'LOG_SEGMENT_DAMAGED' })
})

test('an event that is in the buffer already is not read before it is durable', async () => {
  using directory = temporaryDirectory()
  const log = await FileLog.open({ directory: directory.path, fsync: 'never' })
  await log.append(interactions(1))
  await log.append(interactions(1, 1))
  // The reader of an older end sees bytes in the file that its signal does not cover yet.
  const memory = new SharedArrayBuffer(24)
  new BigInt64Array(memory, 8, 2)[0] = 1n
  const reader = await openFileLogReader({ directory: directory.path, endSignal: memory })
  const [batch] = await reader.read({ 0: '0' }, atOnce(10))
  expect(batch?.events).toEqual(interactions(1))
  expect(await reader.read({ 0: '1' }, atOnce(10))).toEqual([])
  new BigInt64Array(memory, 8, 2)[0] = 2n
  expect((await reader.read({ 0: '1' }, atOnce(10)))[0]?.events).toEqual(interactions(1, 1))
  await reader.close()
  await log.close()
})
