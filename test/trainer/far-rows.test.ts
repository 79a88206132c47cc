import { join } from 'node:path'

import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import type { TrainerModel, TrainerProcess } from '../../src/trainer/trainer-config.ts'
import { crashImage } from '../support/crash-image.ts'
import {
  digestInMemory,
  far,
  openTrainer,
  wideEvents,
  wideRows,
  withCheckpoints,
} from '../support/far-trainer.ts'
import { MemoryRowStore, type MemoryRows } from '../support/memory-row-store.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, textModel, trainerModel } from '../support/trainer.ts'

/** What the row stores of all tables hold, by table: it outlives a trainer. */
type Elsewhere = Map<string, Map<string, MemoryRows>>

const copyOf = (elsewhere: Elsewhere): Elsewhere =>
  new Map(
    [...elsewhere].map(([table, tags]) => [
      table,
      new Map([...tags].map(([tag, { rows, mark }]) => [tag, { rows: new Map(rows), mark }])),
    ]),
  )

/** A trainer whose far rows lie in the given stores. */
async function open(options: {
  readonly log: MemoryLog
  readonly model?: TrainerModel
  readonly process: TrainerProcess
  readonly elsewhere?: Elsewhere
}) {
  const { log: reader, elsewhere = new Map(), ...rest } = options
  const stores = new Map<string, MemoryRowStore>()
  const subject = await openTrainer({
    ...rest,
    reader,
    openStore: ({ name }, recordBytes) => {
      const tags = elsewhere.get(name) ?? new Map<string, MemoryRows>()
      elsewhere.set(name, tags)
      const store = new MemoryRowStore({ recordBytes, table: name, tags })
      stores.set(name, store)
      return Promise.resolve(store)
    },
  })
  return Object.assign(subject, { stores })
}

test.each([
  ['ids and popularity', trainerModel(), { read: 130, item: 90, user: 60 }],
  ['text behind a layer', textModel(), { item: 260, word: 320 }],
] as const)('%s: tables beyond their memory train to the same bits', async (_, model, rows) => {
  const events = shopEvents(1200)
  const log = new MemoryLog(events)
  const expected = await digestInMemory(events, model)
  await using subject = await open({ log, model, process: { ...settings(), ...far(rows) } })
  await subject.runToEnd()
  expect(await subject.trainer.learner.digest()).toBe(expected)
})

test('changed rows make room by checkpoints, and the next rows are sent for ahead', async () => {
  using directory = temporaryDirectory()
  const events = wideEvents(1800)
  const expected = await digestInMemory(events)
  const process = { ...withCheckpoints(directory.path, 0), ...far(wideRows) }
  await using subject = await open({ log: new MemoryLog(events), process })
  await subject.runToEnd()
  expect(await subject.trainer.learner.digest()).toBe(expected)
  const { tables } = subject.trainer.status()
  for (const { name, tier, rows } of tables.filter((table) => table.name in wideRows)) {
    expect(rows).toBeGreaterThan(tier!.memoryRows)
    expect([name, tier!.flushes]).toEqual([name, expect.toSatisfy((n: number) => n > 1)])
    expect(tier!.prefetched).toBeGreaterThan(0)
    expect(tier!.pinnedRows).toBe(0)
  }
}, 60_000)

test('a trainer killed anywhere ends in the state of one that was never killed', async () => {
  using directory = temporaryDirectory()
  using root = temporaryDirectory()
  const events = wideEvents(800)
  const expected = await digestInMemory(events)
  const log = new MemoryLog(events)
  const elsewhere: Elsewhere = new Map()
  const process = { ...withCheckpoints(directory.path, 100), ...far(wideRows) }
  const images: (readonly [string, Elsewhere])[] = []
  await using subject = await open({ log, process, elsewhere })
  const running = subject.runToEnd()
  for (let turns = 0; subject.trainer.learner.facts.events < 800; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve))
    if (turns % 7 !== 0 || images.length === 4) continue
    const image = crashImage(directory.path, join(root.path, String(images.length)))
    images.push([image, copyOf(elsewhere)])
  }
  await running
  expect(await subject.trainer.learner.digest()).toBe(expected)
  for (const [image, copy] of images) {
    const again = { ...withCheckpoints(image, 100), ...far(wideRows) }
    await using restarted = await open({ log, process: again, elsewhere: copy })
    await restarted.runToEnd()
    expect(await restarted.trainer.learner.digest()).toBe(expected)
  }
  expect(images.length).toBe(4)
}, 60_000)

test('stores that are away and that lose confirmed writes cost time and no bit', async () => {
  using directory = temporaryDirectory()
  const events = wideEvents(800)
  const expected = await digestInMemory(events)
  const process = { ...withCheckpoints(directory.path, 100), ...far(wideRows) }
  await using subject = await open({ log: new MemoryLog(events), process })
  const random = seededRandom(3)
  const running = subject.runToEnd()
  const over = new AbortController()
  const end = (): void => over.abort()
  running.then(end, end)
  for (let fault = 0; !over.signal.aborted; fault += 1) {
    for (let turns = random.integer(20); turns > 0; turns -= 1) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    const store = [...subject.stores.values()][random.integer(subject.stores.size)]
    if (store.state === 'wentBack') continue
    if (fault % 2 === 0) store.goBack(1 + random.integer(2))
    else store.interrupt()
    await new Promise((resolve) => setTimeout(resolve, random.integer(8)))
    if (store.state === 'unavailable') store.recover()
  }
  await running
  for (const store of subject.stores.values()) if (store.state === 'unavailable') store.recover()
  expect(await subject.trainer.learner.digest()).toBe(expected)
  const codes = new Set(subject.reports.map(({ code }) => code))
  for (const code of ['rowStoreWaiting', 'rowStoreBack', 'rowStoreWentBack', 'rowStoreRedone']) {
    expect(codes).toContain(code)
  }
}, 60_000)

test('a stop while rows are waited for ends soon, and the next start goes on from there', async () => {
  using directory = temporaryDirectory()
  const events = wideEvents(600)
  const expected = await digestInMemory(events)
  const log = new MemoryLog(events)
  const elsewhere: Elsewhere = new Map()
  const process = { ...withCheckpoints(directory.path, 50), ...far(wideRows) }
  const stopping = new AbortController()
  const first = await open({ log, process, elsewhere })
  const running = first.trainer.run({ signal: stopping.signal })
  await expect.poll(() => first.trainer.learner.facts.events).toBeGreaterThan(200)
  for (const store of first.stores.values()) store.interrupt()
  await expect.poll(() => first.reports.map(({ code }) => code)).toContain('rowStoreWaiting')
  stopping.abort()
  await running
  expect(first.reports.at(-1)?.code).toBe('stoppedWaiting')
  await first.trainer.close()
  await using second = await open({ log, process, elsewhere })
  await second.runToEnd()
  expect(await second.trainer.learner.digest()).toBe(expected)
}, 60_000)

test('a checkpoint whose rows are elsewhere is refused by a trainer that has them in memory', async () => {
  using directory = temporaryDirectory()
  const log = new MemoryLog(wideEvents(100))
  const process = withCheckpoints(directory.path, 0)
  const first = await open({ log, process: { ...process, ...far(wideRows) } })
  await first.runToEnd()
  await first.trainer.close()
  await expect(open({ log, process })).rejects.toMatchObject({ code: 'ROWS_ELSEWHERE' })
}, 60_000)
