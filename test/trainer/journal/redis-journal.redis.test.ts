/** The journal's copy in Redis: what a successor finds, and what whoever was replaced cannot do. */
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import type { JournalEntry } from '../../../src/stream/files/journal.ts'
import type { Fence } from '../../../src/sync/fence.ts'
import { RedisJournalTail } from '../../../src/trainer/journal/redis-journal-tail.ts'
import { RedisJournal } from '../../../src/trainer/journal/redis-journal.ts'
import { TrainerJournal } from '../../../src/trainer/journal/trainer-journal.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { newModel, takeFence } from '../../support/redis-sync.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start({ appendOnly: true })
})
afterAll(async () => {
  await server.stop()
})

const code = (name: string): unknown => expect.objectContaining({ code: name })

const batch = (n: number): JournalEntry => ({
  kind: 'batch',
  from: { 0: `0:${n}`, 1: `1:${2 * n}` },
  to: { 0: `0:${n + 1}`, 1: `1:${2 * n + 2}` },
  events: 3,
  runs: [
    [1, 2],
    [0, 1],
  ],
})

const copyOf = (model: string, fence: Fence): RedisJournal =>
  new RedisJournal({ model, connection: server.settings, fence })

/** A trainer on a machine of its own, which has just taken the lease. */
async function machine(model: string, known?: Fence) {
  const folder = temporaryDirectory()
  const fence = known ?? (await takeFence(model, server.settings))
  const path = join(folder.path, 'batches')
  const journal = await TrainerJournal.open({ path }, copyOf(model, fence))
  return {
    fence,
    path,
    journal,
    async write(from: number, to: number) {
      for (let n = from; n < to; n += 1) await journal.append(batch(n))
    },
    entries: () => journal.entries(journal.first).map(({ entry }) => entry),
    [Symbol.dispose]() {
      journal.close()
      folder[Symbol.dispose]()
    },
  }
}

/** The lease runs out. */
const expire = async (model: string): Promise<void> => {
  await server.command('HSET', `freshet:{sync:${model}}:lease`, 'until', '0')
}

const batches = (from: number, to: number): readonly JournalEntry[] =>
  Array.from({ length: to - from }, (_, i) => batch(from + i))

test('a successor on another machine has every entry, in more than one page', async () => {
  const model = newModel()
  using first = await machine(model)
  await first.write(0, 600)
  await expire(model)
  using second = await machine(model)
  expect(second.journal.next).toBe(600)
  expect(second.entries()).toEqual(batches(0, 600))
  await second.write(600, 601)
  expect(second.entries()).toEqual(batches(0, 601))
})

test('whoever was replaced writes nothing more, and is told', async () => {
  const model = newModel()
  using first = await machine(model)
  await first.write(0, 3)
  await expire(model)
  using second = await machine(model)
  await expect(first.write(3, 4)).rejects.toThrow(code('SYNC_FENCED'))
  await second.write(3, 5)
  await expire(model)
  using third = await machine(model)
  expect(third.entries()).toEqual(batches(0, 5))
})

test('a lease that has run out is waited for: it may still be renewed', async () => {
  const model = newModel()
  using first = await machine(model)
  await first.write(0, 1)
  await expire(model)
  const writing = first.write(1, 2)
  const lease = `freshet:{sync:${model}}:lease`
  await server.command('HSET', lease, 'until', String(Date.now() + 600_000))
  await writing
  await expire(model)
  using second = await machine(model)
  expect(second.entries()).toEqual(batches(0, 2))
})

test('what the file has forgotten is forgotten, and an older file is not believed', async () => {
  const model = newModel()
  using first = await machine(model)
  await first.write(0, 10)
  first.journal.truncateBefore(6)
  await first.write(10, 11)
  await expire(model)
  using second = await machine(model)
  expect(second.journal.first).toBe(6)
  await second.write(11, 20)
  await expire(model)
  const fence = await takeFence(model, server.settings)
  const again = await TrainerJournal.open({ path: first.path }, copyOf(model, fence))
  expect(again.next).toBe(20)
  expect(again.entries(6).map(({ entry }) => entry)).toEqual(batches(6, 20))
  again.close()
})

test('a journal that was begun anew replaces what was there', async () => {
  const model = newModel()
  using first = await machine(model)
  await first.write(0, 5)
  first.journal.restartAt(2)
  await first.write(2, 3)
  await expire(model)
  using second = await machine(model)
  expect(second.entries()).toEqual(batches(0, 3))
  second.journal.restartAt(50)
  await second.write(50, 52)
  await expire(model)
  using third = await machine(model)
  expect(third.journal.first).toBe(50)
  expect(third.entries()).toEqual(batches(50, 52))
})

test('a server that has lost entries, or all of them, gets them with the next', async () => {
  const model = newModel()
  using first = await machine(model)
  await first.write(0, 300)
  const list = `freshet:{sync:${model}}:journal`
  await server.command('LTRIM', list, 0, 290)
  await first.write(300, 301)
  await server.command('DEL', list, `${list}-first`)
  await first.write(301, 302)
  await expire(model)
  using second = await machine(model)
  expect(second.entries()).toEqual(batches(0, 302))
})

test('an entry that was damaged in Redis ends the start', async () => {
  const model = newModel()
  using first = await machine(model)
  await first.write(0, 2)
  await server.command('LSET', `freshet:{sync:${model}}:journal`, 1, 'damage')
  await expect(machine(model, first.fence)).rejects.toThrow(code('JOURNAL_DAMAGED'))
})

test('a wait for a server that is away ends when it is closed', async () => {
  const model = newModel()
  const away = await RedisServer.start()
  const fence = await takeFence(model, away.settings)
  const copy = new RedisJournal({ model, connection: away.settings, fence })
  expect(await copy.read()).toBeUndefined()
  await away.stop()
  const reading = copy.read()
  copy.close()
  await expect(reading).rejects.toThrow(code('SYNC_CLOSED'))
})

test('a standby reads what is new, without a lease, and notices another way', async () => {
  const model = newModel()
  using first = await machine(model)
  using tail = new RedisJournalTail({ model, connection: server.settings })
  expect(await tail.read({ sequence: 0 })).toBe(undefined)
  await first.write(0, 3)
  const read = await tail.read({ sequence: 0 })
  expect(read?.map(({ entry }) => entry)).toEqual(batches(0, 3))
  const place = { sequence: 3, last: { sequence: 2, entry: batch(2) } }
  expect(await tail.read(place)).toEqual([])
  await first.write(3, 5)
  expect(await tail.read(place)).toEqual([
    { sequence: 3, entry: batch(3) },
    { sequence: 4, entry: batch(4) },
  ])
  // What is forgotten was before the place.
  first.journal.truncateBefore(2)
  await first.write(5, 6)
  expect(await tail.read(place)).toHaveLength(3)
  // The next trainer begins with less.
  await expire(model)
  using second = await machine(model)
  second.journal.restartAt(2)
  await second.write(7, 9)
  expect(await tail.read(place)).toBe(undefined)
  await server.command('FLUSHALL')
  expect(await tail.read(place)).toBe(undefined)
})
