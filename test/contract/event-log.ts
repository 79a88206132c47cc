/**
 * What every event log must do. An adapter's test calls one of these with a way to open a log: the
 * first for adapters that can only be read, the second for those that append too. What is special
 * to an adapter it tests itself.
 */
import { expect, test } from 'vitest'

import type { EventLog, EventLogReader, Position } from '../../src/stream/event-log.ts'
import type { Event, Interaction } from '../../src/stream/event.ts'
import { interaction, interactions } from '../support/events.ts'

export interface ReaderUnderTest extends AsyncDisposable {
  readonly reader: EventLogReader
}

export interface LogUnderTest extends ReaderUnderTest {
  readonly log: EventLog
  /** Closes the log and opens it again, as a restarted process would. */
  reopen(): Promise<EventLog>
}

export const atOnce = (maxEvents: number) => ({
  maxEvents,
  waitMs: 0,
  signal: new AbortController().signal,
})

/** Everything from `from` on, read `step` events at a time. */
export async function readAll(
  reader: EventLogReader,
  from: Position,
  step = 100,
): Promise<{ events: Event[]; offsets: string[]; next: Position }> {
  const events: Event[] = []
  const offsets: string[] = []
  const next = { ...from }
  for (;;) {
    const batches = await reader.read(next, atOnce(step))
    if (batches.length === 0) return { events, offsets, next }
    for (const batch of batches) {
      expect(batch.events.length).toBeLessThanOrEqual(step)
      expect(batch.offsets).toHaveLength(batch.events.length)
      events.push(...batch.events)
      offsets.push(...batch.offsets)
      next[batch.partition] = batch.next
    }
  }
}

/** `open` gives a log that holds exactly these interactions, in this order. */
export function testEventLogReader(
  open: (events: readonly Interaction[]) => Promise<ReaderUnderTest>,
): void {
  const written = interactions(25)

  test('events come back in order, however many are read at a time', async () => {
    await using subject = await open(written)
    for (const step of [1, 7, 25, 1_000]) {
      const { events } = await readAll(subject.reader, await subject.reader.start(), step)
      expect(events).toEqual(written)
    }
  })

  test('reading moves nothing: two readers do not affect each other', async () => {
    await using subject = await open(written)
    const start = await subject.reader.start()
    const [first] = await subject.reader.read(start, atOnce(10))
    const [again] = await subject.reader.read(start, atOnce(10))
    expect(again?.events).toEqual(first?.events)
    const both = await Promise.all([
      readAll(subject.reader, start, 3),
      readAll(subject.reader, start, 4),
    ])
    for (const { events } of both) expect(events).toEqual(written)
  })

  test('reading goes on from any offset', async () => {
    await using subject = await open(written)
    const { offsets } = await readAll(subject.reader, await subject.reader.start())
    for (const i of [24, 0, 11, 12, 3]) {
      const { events } = await readAll(subject.reader, { 0: offsets[i] })
      expect(events).toEqual(written.slice(i))
    }
  })

  test('offsets ascend', async () => {
    await using subject = await open(written)
    const { offsets, next } = await readAll(subject.reader, await subject.reader.start())
    const all = [...offsets, next[0]]
    for (let i = 1; i < all.length; i += 1) {
      expect(subject.reader.compare(all[i - 1], all[i])).toBeLessThan(0)
      expect(subject.reader.compare(all[i], all[i - 1])).toBeGreaterThan(0)
      expect(subject.reader.compare(all[i], all[i])).toBe(0)
    }
  })

  test('nothing is read from the end on, and the end is where reading ends', async () => {
    await using subject = await open(written)
    const end = await subject.reader.end()
    expect(await subject.reader.read(end, atOnce(10))).toEqual([])
    const { next } = await readAll(subject.reader, await subject.reader.start())
    expect(next).toEqual(end)
  })

  test('an offset beyond the end is an error', async () => {
    await using subject = await open(written)
    const reading = subject.reader.read({ 0: '4000' }, atOnce(10))
    await expect(reading).rejects.toMatchObject({ code: 'LOG_OFFSET_UNKNOWN' })
  })

  test('an aborted read gives nothing and no error', async () => {
    await using subject = await open(written)
    const options = { maxEvents: 5, waitMs: 60_000, signal: AbortSignal.abort() }
    expect(await subject.reader.read(await subject.reader.end(), options)).toEqual([])
  })

  test('a closed log refuses to be read; closing twice is closing once', async () => {
    await using subject = await open(written)
    const start = await subject.reader.start()
    await subject.reader.close()
    await subject.reader.close()
    const reading = subject.reader.read(start, atOnce(1))
    await expect(reading).rejects.toMatchObject({ code: 'LOG_CLOSED' })
  })
}

export function testEventLog(open: () => Promise<LogUnderTest>): void {
  testEventLogReader(async (events) => {
    const subject = await open()
    for (let i = 0; i < events.length; i += 10) await subject.log.append(events.slice(i, i + 10))
    return subject
  })

  test('an empty log has nothing to read', async () => {
    await using subject = await open()
    const { log } = subject
    expect(await log.read(await log.start(), atOnce(10))).toEqual([])
    expect(await log.end()).toEqual(await log.start())
    expect(await log.append([])).toEqual([])
  })

  test('an append gives the offsets under which its events are read', async () => {
    await using subject = await open()
    const { log, reader } = subject
    const given = [await log.append(interactions(3)), await log.append(interactions(2, 3))].flat()
    expect((await readAll(reader, await reader.start())).offsets).toEqual(given)
  })

  test('what an append acknowledged is there after a restart', async () => {
    await using subject = await open()
    await subject.log.append(interactions(3))
    const again = await subject.reopen()
    await again.append(interactions(2, 3))
    expect((await readAll(again, await again.start())).events).toEqual(interactions(5))
  })

  test('appends at the same time are whole, in some order', async () => {
    await using subject = await open()
    const { log, reader } = subject
    const appends = Array.from({ length: 20 }, (_, i) => interactions(5, i * 5))
    const offsets = await Promise.all(appends.map((events) => log.append(events)))
    const read = await readAll(reader, await reader.start())
    for (const [i, events] of appends.entries()) {
      const at = read.offsets.indexOf(offsets[i][0])
      expect(read.events.slice(at, at + 5)).toEqual(events)
    }
    expect(read.events).toHaveLength(100)
  })

  test('a reader that waits is woken by an append', async () => {
    await using subject = await open()
    const { log, reader } = subject
    const options = { ...atOnce(10), waitMs: 60_000 }
    const waiting = reader.read(await reader.start(), options)
    await log.append(interactions(2))
    const [batch] = await waiting
    expect(batch?.events).toEqual(interactions(2))
  })

  test('a reader that waits gives up after its time, aborted, and at the close', async () => {
    await using subject = await open()
    const { reader } = subject
    const start = await reader.start()
    expect(await reader.read(start, { ...atOnce(10), waitMs: 5 })).toEqual([])
    const controller = new AbortController()
    const options = { maxEvents: 10, waitMs: 60_000, signal: controller.signal }
    const aborted = reader.read(start, options)
    controller.abort()
    expect(await aborted).toEqual([])
    const closed = reader.read(start, { ...atOnce(10), waitMs: 60_000 })
    await reader.close()
    expect(await closed).toEqual([])
  })

  test('a closed log refuses appends; those under way are kept', async () => {
    await using subject = await open()
    const under = subject.log.append(interactions(3))
    const closing = subject.log.close()
    const refused = subject.log.append([interaction()])
    await expect(refused).rejects.toMatchObject({ code: 'LOG_CLOSED' })
    expect(await under).toHaveLength(3)
    await closing
    const again = await subject.reopen()
    expect((await readAll(again, await again.start())).events).toEqual(interactions(3))
  })
}
