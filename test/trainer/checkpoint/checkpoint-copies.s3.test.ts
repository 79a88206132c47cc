/** Copies of checkpoints in a real object store: what is whole, what is not, what is kept. */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { ServiceError } from '../../../src/base/errors.ts'
import { CheckpointCopies } from '../../../src/trainer/checkpoint/checkpoint-copies.ts'
import { CheckpointMirror } from '../../../src/trainer/checkpoint/checkpoint-mirror.ts'
import { checkpointName, CheckpointStore } from '../../../src/trainer/checkpoint/checkpoint.ts'
import type { ObjectStore } from '../../../src/trainer/checkpoint/object-store.ts'
import { S3Objects } from '../../../src/trainer/checkpoint/s3-objects.ts'
import { FetchAhead } from '../../../src/trainer/lease/fetch-ahead.ts'
import type { TrainerReport } from '../../../src/trainer/trainer-status.ts'
import { S3Server } from '../../support/s3-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

let server: S3Server
beforeAll(async () => {
  server = await S3Server.start()
}, 240_000)
afterAll(async () => {
  await server.stop()
})

let models = 0
const newPrefix = (): string => `freshet/model ${(models += 1)}/`
const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const code = (name: string): unknown => expect.objectContaining({ code: name })
/** More than two pieces. */
const large = new Uint8Array(40 << 20).map((_, i) => i * 7)

/** A machine: a folder of its own, and what it says. */
function machine(prefix: string, epoch: number, keep = 2) {
  const folder = temporaryDirectory()
  const objects = new S3Objects(server.settings)
  const copies = new CheckpointCopies({ objects, prefix, epoch })
  const reports: TrainerReport[] = []
  const report = (found: TrainerReport): void => void reports.push(found)
  const directory = folder.path
  const store = new CheckpointStore({ directory, keep })
  const mirror = new CheckpointMirror({ directory, keep, copies, report })
  return {
    directory,
    objects,
    copies,
    store,
    mirror,
    reports,
    fetch: () => mirror.fetch(() => undefined),
    async write(sequence: number, facts = `facts ${sequence}`, rows = text('rows')) {
      const header = { sequence, position: { 0: `${sequence}` }, createdAt: epoch, config: {} }
      await store.write(header, [
        { name: 'facts', chunks: [text(facts), text('')] },
        { name: 'rows', chunks: [rows] },
        { name: 'nothing', chunks: [] },
      ])
      return await mirror.send(sequence)
    },
    newest() {
      const found = store.newest(() => undefined)
      const [facts] = found?.chunks('facts') ?? []
      return found && { sequence: found.sequence, facts: new TextDecoder().decode(facts) }
    },
    [Symbol.dispose]() {
      copies.close()
      folder[Symbol.dispose]()
    },
  }
}

const sequencesOf = async (copies: CheckpointCopies): Promise<readonly number[]> =>
  (await copies.list()).map(({ sequence }) => sequence)

test('a machine with an empty folder has the newest one, chunk by chunk', async () => {
  const prefix = newPrefix()
  using first = machine(prefix, 1)
  await first.write(5)
  await first.write(7, 'facts 7', large)
  using second = machine(prefix, 2)
  await second.fetch()
  expect(second.newest()).toEqual({ sequence: 7, facts: 'facts 7' })
  expect(second.store.sequences()).toEqual([7])
  const [rows] = second.store.newest(() => undefined)?.chunks('rows') ?? []
  expect(Buffer.compare(rows, large)).toBe(0)
  expect(second.reports.map((one) => one.code)).toEqual(['checkpointFetched'])
})

test('where rows are elsewhere it has the older ones, too: they bring a store up to date', async () => {
  const prefix = newPrefix()
  using first = machine(prefix, 1, 3)
  for (const sequence of [1, 2, 3]) {
    const header = { sequence, position: { 0: '1' }, createdAt: 1, config: {} }
    await first.store.write(header, [{ name: 'redo-items', chunks: [text(`rows ${sequence}`)] }])
    await first.mirror.send(sequence)
  }
  await first.objects.remove(`${prefix}checkpoint-000000000001/1/redo-items/000000`)
  using second = machine(prefix, 2)
  await second.fetch()
  expect(second.store.sequences()).toEqual([2, 3])
  expect([...(second.store.part(2, 'redo-items') ?? [])]).toEqual([text('rows 2')])
})

test('a folder that has the newest one is not fetched into again', async () => {
  using one = machine(newPrefix(), 1)
  await one.write(5)
  await one.fetch()
  expect(one.newest()?.sequence).toBe(5)
  expect(one.reports).toEqual([])
})

test('a folder that was damaged is made anew', async () => {
  using one = machine(newPrefix(), 1)
  await one.write(5)
  writeFileSync(join(one.directory, 'checkpoint-000000000005', 'rows'), 'damage')
  await one.fetch()
  expect(one.newest()).toEqual({ sequence: 5, facts: 'facts 5' })
})

test('what the copies do not have leaves the folder, another machine may have gone on', async () => {
  const prefix = newPrefix()
  using first = machine(prefix, 1)
  await first.write(5)
  const header = { sequence: 9, position: { 0: '9' }, createdAt: 1, config: {} }
  await first.store.write(header, [{ name: 'facts', chunks: [text('never sent')] }])
  using second = machine(prefix, 2)
  await second.write(6)
  await first.fetch()
  expect(first.newest()).toEqual({ sequence: 6, facts: 'facts 6' })
  expect(first.store.sequences()).toEqual([6])
})

test('a folder that was never copied is kept, and its base goes with the first that needs it', async () => {
  using one = machine(newPrefix(), 1)
  const header = { sequence: 3, position: { 0: '3' }, createdAt: 1, config: {} }
  await one.store.write(header, [{ name: 'facts', chunks: [text('old')] }])
  await one.fetch()
  expect(one.newest()).toEqual({ sequence: 3, facts: 'old' })
})

test('a copy whose piece or manifest is gone or damaged is passed over', async () => {
  const prefix = newPrefix()
  using first = machine(prefix, 1, 4)
  for (const sequence of [1, 2, 3, 4]) await first.write(sequence)
  const at = (sequence: number, file: string) =>
    `${prefix}checkpoint-00000000000${sequence}/1/${file}`
  await first.objects.remove(at(4, 'rows/000000'))
  await first.objects.put(at(3, 'rows/000000'), text('damaged'))
  await first.objects.put(at(2, 'manifest.json'), text('{"crc":1,"body":{}}'))
  using second = machine(prefix, 2)
  await second.fetch()
  expect(second.newest()).toEqual({ sequence: 1, facts: 'facts 1' })
  expect(second.reports.map((one) => one.code)).toEqual([
    'checkpointDamaged',
    'checkpointDamaged',
    'checkpointDamaged',
    'checkpointFetched',
  ])
  expect(readdirSync(second.directory)).toEqual(['checkpoint-000000000001'])
})

test('one that must not be started from is passed over, and stays', async () => {
  const prefix = newPrefix()
  using first = machine(prefix, 1)
  await first.write(1)
  await first.write(2)
  using second = machine(prefix, 2)
  await second.mirror.fetch(({ sequence }) => (sequence > 1 ? 'ahead of the log' : undefined))
  expect(second.newest()?.sequence).toBe(1)
  expect(await sequencesOf(second.copies)).toEqual([1, 2])
})

test('so many are kept, over machines and epochs; the oldest is told', async () => {
  const prefix = newPrefix()
  using first = machine(prefix, 1)
  expect(await first.write(1)).toMatchObject({ sequence: 1 })
  expect(await first.write(2)).toMatchObject({ sequence: 1 })
  using second = machine(prefix, 2)
  expect(await second.write(3)).toMatchObject({ sequence: 2, position: { 0: '2' } })
  expect(await sequencesOf(second.copies)).toEqual([2, 3])
  expect(await second.mirror.oldest()).toMatchObject({ sequence: 2 })
  const left = await second.objects.list(`${prefix}checkpoint-000000000001`)
  expect(left).toEqual([])
})

test('what a trainer that was replaced still sends mixes with nothing', async () => {
  const prefix = newPrefix()
  using first = machine(prefix, 1, 9)
  using second = machine(prefix, 2, 9)
  await second.write(8, 'the same')
  // Half of a copy under the old epoch, and a whole one.
  await first.objects.put(`${prefix}checkpoint-000000000009/1/rows/000000`, text('half'))
  await first.write(8, 'the same')
  using third = machine(prefix, 3, 9)
  await third.fetch()
  expect(third.newest()).toEqual({ sequence: 8, facts: 'the same' })
  expect(await sequencesOf(third.copies)).toEqual([8, 8])
  await third.write(10)
  expect(await third.objects.list(`${prefix}checkpoint-000000000009`)).toEqual([])
})

test('parts are read from the copies without a folder', async () => {
  using one = machine(newPrefix(), 1)
  await one.write(5)
  const [copy] = await one.copies.list()
  expect(await one.copies.part(copy, 'facts')).toEqual([text('facts 5'), text('')].map(toBuffer))
  expect(await one.copies.part(copy, 'nothing')).toEqual([])
  expect(await one.copies.part(copy, 'absent')).toEqual([])
})

const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes)

test('what could not be copied is no checkpoint, and the next one is', async () => {
  using one = machine(newPrefix(), 1)
  await one.write(1)
  await server.kill()
  await expect(one.write(2)).rejects.toThrow(code('CHECKPOINT_FAILED'))
  expect(one.store.sequences()).toEqual([1])
  await server.start()
  await one.write(3)
  expect(await sequencesOf(one.copies)).toEqual([1, 3])
}, 120_000)

test('a wrong key and a bucket that is not there are refused, and say so', async () => {
  const credentials = { accessKeyId: 'freshet', secretAccessKey: 'wrong' }
  const stranger = new S3Objects({ ...server.settings, credentials })
  await expect(stranger.list('')).rejects.toThrow(code('CHECKPOINT_STORE_REFUSED'))
  const lost = new S3Objects({ ...server.settings, bucket: 'not-there' })
  await expect(lost.put('a', text('b'))).rejects.toThrow(code('CHECKPOINT_STORE_REFUSED'))
  const away = new S3Objects({ ...server.settings, endpoint: 'http://127.0.0.1:1' })
  await expect(away.get('a')).rejects.toThrow(code('CHECKPOINT_STORE_UNAVAILABLE'))
  for (const objects of [stranger, lost, away]) objects.close()
})

test('lists of many names are whole, names have any character', async () => {
  using one = machine(newPrefix(), 1)
  const prefix = newPrefix()
  const keys = Array.from({ length: 1_100 }, (_, i) => `${prefix}${1_000 + i} ü+&`)
  for (let at = 0; at < keys.length; at += 50) {
    await Promise.all(keys.slice(at, at + 50).map((key) => one.objects.put(key, text('x'))))
  }
  expect(await one.objects.list(prefix)).toEqual(keys)
  expect(await one.objects.get(keys[1_099])).toEqual(text('x'))
  expect(await one.objects.get(`${prefix}none`)).toBeUndefined()
}, 60_000)

test('who stands by has the newest and what it needs before it is asked to start', async () => {
  const prefix = newPrefix()
  using active = machine(prefix, 1)
  using standby = machine(prefix, 0)
  await standby.mirror.fetchAhead()
  expect(standby.store.sequences()).toEqual([])
  await active.write(10)
  await active.write(20)
  await standby.mirror.fetchAhead()
  expect(standby.newest()).toEqual({ sequence: 20, facts: 'facts 20' })
  await active.write(30)
  await active.write(40)
  await standby.mirror.fetchAhead()
  await standby.mirror.fetchAhead()
  expect(standby.store.sequences()).toEqual([40])
  const fetched = standby.reports.filter(({ code: name }) => name === 'checkpointFetched')
  expect(fetched.map(({ details }) => details['sequence'])).toEqual([20, 40])
  await standby.fetch()
  expect(standby.newest()).toEqual({ sequence: 40, facts: 'facts 40' })
  expect(standby.reports).toHaveLength(fetched.length)
})

test('what was fetched ahead and is damaged is fetched again by the start', async () => {
  const prefix = newPrefix()
  using active = machine(prefix, 1)
  using standby = machine(prefix, 0)
  await active.write(10)
  await standby.mirror.fetchAhead()
  writeFileSync(join(standby.directory, checkpointName(10), 'facts'), 'spoiled')
  expect(standby.newest()).toBeUndefined()
  await standby.fetch()
  expect(standby.newest()).toEqual({ sequence: 10, facts: 'facts 10' })
})

test('a standby looks for copies until it is told to start', async () => {
  const prefix = newPrefix()
  using active = machine(prefix, 1)
  using standby = machine(prefix, 0)
  const stopping = new AbortController()
  const ahead = new FetchAhead({
    place: { s3: server.settings, prefix },
    directory: standby.directory,
    intervalMs: 10,
    signal: stopping.signal,
    report: (found) => void standby.reports.push(found),
  })
  await active.write(10)
  await expect.poll(() => standby.newest()?.sequence, { timeout: 20_000 }).toBe(10)
  await active.write(20)
  await expect.poll(() => standby.newest()?.sequence, { timeout: 20_000 }).toBe(20)
  await ahead.finish()
  await active.write(30)
  expect(standby.newest()).toEqual({ sequence: 20, facts: 'facts 20' })
})

/** A store that refuses whatever it is sent, at once. */
const fullStore: ObjectStore = {
  place: 'full',
  put: () => Promise.reject(new ServiceError('CHECKPOINT_STORE_UNAVAILABLE', { reason: 'full' })),
  get: () => Promise.resolve(undefined),
  list: () => Promise.resolve([]),
  remove: () => Promise.resolve(),
  close: () => undefined,
}

test('a piece that is refused while the next is read fails the copy, and nothing else', async () => {
  using folder = temporaryDirectory()
  const store = new CheckpointStore({ directory: folder.path, keep: 1 })
  const header = { sequence: 10, position: {}, createdAt: 1, config: {} }
  await store.write(header, [{ name: 'rows', chunks: [large] }])
  const copies = new CheckpointCopies({ objects: fullStore, prefix: newPrefix(), epoch: 1 })
  const copying = copies.write(join(folder.path, checkpointName(10)))
  await expect(copying).rejects.toEqual(code('CHECKPOINT_STORE_UNAVAILABLE'))
})
