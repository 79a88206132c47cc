import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import {
  CheckpointStore,
  type DamagedCheckpoint,
} from '../../../src/trainer/checkpoint/checkpoint.ts'

const header = (sequence: number) => ({
  sequence,
  position: { 0: String(sequence * 10) },
  createdAt: 1_700_000_000_000,
  config: { dim: 4, names: ['a'] },
})
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

const open = (keep = 3) => {
  const directory = mkdtempSync(join(tmpdir(), 'checkpoint-test-'))
  return {
    directory,
    store: new CheckpointStore({ directory, keep }),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}

const write = (store: CheckpointStore, sequence: number): Promise<number> =>
  store.write(header(sequence), [
    { name: 'facts', chunks: [text(`facts ${sequence}`), text('')] },
    { name: 'table-items', chunks: [text('a'), text('bc')] },
  ])

const newest = (store: CheckpointStore) => {
  const damaged: DamagedCheckpoint[] = []
  return { found: store.newest((one) => damaged.push(one)), damaged }
}

test('what was written comes back, chunk by chunk', async () => {
  using subject = open()
  const bytes = await write(subject.store, 7)
  const { found, damaged } = newest(subject.store)
  expect(found).toMatchObject({ ...header(7), bytes })
  expect([...(found?.chunks('facts') ?? [])]).toEqual([text('facts 7'), text('')])
  expect([...(found?.chunks('table-items') ?? [])]).toEqual([text('a'), text('bc')])
  expect([...(found?.chunks('absent') ?? [])]).toEqual([])
  expect(damaged).toEqual([])
})

test('an empty or absent directory has no checkpoint', () => {
  using subject = open()
  expect(newest(subject.store).found).toBeUndefined()
  const nowhere = new CheckpointStore({ directory: join(subject.directory, 'no'), keep: 1 })
  expect(newest(nowhere).found).toBeUndefined()
  expect(nowhere.oldest()).toBeUndefined()
})

test('the newest few are kept', async () => {
  using subject = open(2)
  for (const sequence of [1, 2, 30, 4]) await write(subject.store, sequence)
  expect(subject.store.sequences()).toEqual([4, 30])
  expect(subject.store.oldest()?.position).toEqual({ 0: '40' })
  expect(newest(subject.store).found?.sequence).toBe(30)
})

const writeDelta = (store: CheckpointStore, sequence: number, base: number): Promise<number> =>
  store.write({ ...header(sequence), base }, [
    { name: 'facts', chunks: [text(`facts ${sequence}`)] },
    { name: 'table-words', chunks: [undefined, text('words'), undefined] },
    { name: 'delta-items', chunks: [text(`d${sequence}`)] },
  ])

test('a delta gives the tables of its base, and then what has changed since', async () => {
  using subject = open()
  await write(subject.store, 1)
  await writeDelta(subject.store, 2, 1)
  await writeDelta(subject.store, 3, 1)
  const { found } = newest(subject.store)
  expect(found?.parts).toEqual(['facts', 'table-words', 'table-items'])
  expect([...(found?.chunks('table-items') ?? [])]).toEqual([text('a'), text('bc'), text('d3')])
  expect([...(found?.chunks('table-words') ?? [])]).toEqual([text('words')])
  expect([...(found?.chunks('facts') ?? [])]).toEqual([text('facts 3')])
})

test('what a kept delta needs is kept', async () => {
  using subject = open(2)
  await write(subject.store, 1)
  for (const sequence of [2, 3, 4]) await writeDelta(subject.store, sequence, 1)
  expect(subject.store.sequences()).toEqual([1, 3, 4])
  await write(subject.store, 5)
  expect(subject.store.sequences()).toEqual([1, 4, 5])
  await writeDelta(subject.store, 6, 5)
  expect(subject.store.sequences()).toEqual([5, 6])
})

test('a damaged base takes its deltas with it, a damaged delta only itself', async () => {
  using subject = open(9)
  for (const base of [1, 5]) {
    await write(subject.store, base)
    for (const more of [1, 2]) await writeDelta(subject.store, base + more, base)
  }
  const damage = (sequence: number): void =>
    writeFileSync(join(subject.directory, `checkpoint-00000000000${sequence}`, 'facts'), 'f')
  damage(7)
  expect(newest(subject.store).found?.sequence).toBe(6)
  damage(5)
  const { found, damaged } = newest(subject.store)
  expect(found?.sequence).toBe(3)
  expect(damaged).toHaveLength(3)
})

test('the same state written again replaces itself', async () => {
  using subject = open()
  await write(subject.store, 5)
  await write(subject.store, 5)
  expect(newest(subject.store).found?.sequence).toBe(5)
})

const damages: Record<string, (directory: string) => void> = {
  'a flipped bit in a part': (directory) => {
    const bytes = readFileSync(join(directory, 'facts'))
    bytes[6] ^= 1
    writeFileSync(join(directory, 'facts'), bytes)
  },
  'a part cut short': (directory) => writeFileSync(join(directory, 'facts'), 'f'),
  'a missing part': (directory) => rmSync(join(directory, 'table-items')),
  'a missing manifest': (directory) => rmSync(join(directory, 'manifest.json')),
  'an empty manifest': (directory) => writeFileSync(join(directory, 'manifest.json'), ''),
  'a manifest that was edited': (directory) => {
    const file = join(directory, 'manifest.json')
    writeFileSync(file, readFileSync(file, 'utf8').replace('"sequence": 2', '"sequence": 3'))
  },
}

test.each(Object.keys(damages))('%s is reported and the one before is taken', async (name) => {
  using subject = open()
  await write(subject.store, 1)
  await write(subject.store, 2)
  damages[name](join(subject.directory, 'checkpoint-000000000002'))
  const { found, damaged } = newest(subject.store)
  expect(found?.sequence).toBe(1)
  expect(damaged).toHaveLength(1)
  expect(damaged[0].reason).not.toBe('')
})

test('what a crash left half written is no checkpoint, and is cleaned away', async () => {
  using subject = open()
  await write(subject.store, 1)
  const half = join(subject.directory, 'writing-2')
  mkdirSync(half)
  writeFileSync(join(half, 'facts'), 'half')
  expect(newest(subject.store).found?.sequence).toBe(1)
  await subject.store.clean()
  expect(readdirSync(subject.directory)).toEqual(['checkpoint-000000000001'])
})

test('what a crash left half replaced is put back', async () => {
  using subject = open()
  await write(subject.store, 1)
  const names = ['checkpoint-000000000001', 'replaced-checkpoint-000000000001']
  const [final, aside] = names.map((name) => join(subject.directory, name))
  renameSync(final, aside)
  expect(newest(subject.store).found).toBeUndefined()
  await subject.store.clean()
  expect(newest(subject.store).found?.sequence).toBe(1)
  mkdirSync(aside)
  await subject.store.clean()
  expect(readdirSync(subject.directory)).toEqual(['checkpoint-000000000001'])
})

test('parts of another checkpoint may be written again, in writes of any size', async () => {
  using subject = open()
  await write(subject.store, 1)
  const large = Array.from({ length: 1_500 }, (_, i) => new Uint8Array(i % 90).fill(i))
  await subject.store.write(header(2), [{ name: 'table-items', chunks: large }])
  const { found } = newest(subject.store)
  expect(found?.parts).toEqual(['table-items'])
  const parts = [{ name: 'table-items', chunks: found?.chunks('table-items') ?? [] }]
  await subject.store.write(header(3), parts)
  expect([...(newest(subject.store).found?.chunks('table-items') ?? [])]).toEqual(large)
})

test('a failure to write is an error with a code and harms nothing', async () => {
  using subject = open()
  await write(subject.store, 1)
  const parts = [{ name: 'no/such/folder', chunks: [text('a')] }]
  await expect(subject.store.write(header(2), parts)).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
  })
  expect(readdirSync(subject.directory)).toEqual(['checkpoint-000000000001'])
})
