import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { BatchJournal, type JournalEntry } from '../../../src/stream/files/journal.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const batch = (from: number, to: number): JournalEntry => ({
  kind: 'batch',
  from: { 0: String(from) },
  to: { 0: String(to) },
  events: to - from,
})

const command: JournalEntry = {
  kind: 'command',
  name: 'restrict',
  payload: { table: 'items', trigger: 0.5, force: true },
}

const entriesOf = (journal: BatchJournal, from = journal.first): JournalEntry[] =>
  journal.entries(from).map(({ entry }) => entry)

test('entries are numbered and read back from any of them, also by another process', () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'deep', 'journal')
  const journal = new BatchJournal({ path })
  expect([
    journal.append(batch(0, 64)),
    journal.append(command),
    journal.append(batch(64, 70)),
  ]).toEqual([0, 1, 2])
  const again = new BatchJournal({ path })
  for (const reader of [journal, again]) {
    expect(reader.next).toBe(3)
    expect(entriesOf(reader)).toEqual([batch(0, 64), command, batch(64, 70)])
    expect(reader.entries(1).map(({ sequence }) => sequence)).toEqual([1, 2])
    expect(reader.entries(3)).toEqual([])
  }
  journal.sync()
  journal.close()
  again.close()
})

test('forgetting keeps numbers: even with nothing left, the next entry has the number due', () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'journal')
  let journal = new BatchJournal({ path })
  for (let i = 0; i < 10; i += 1) journal.append(batch(i, i + 1))
  journal.truncateBefore(4)
  journal.truncateBefore(2)
  expect([journal.first, journal.next]).toEqual([4, 10])
  expect(entriesOf(journal)).toHaveLength(6)
  expect(() => journal.entries(3)).toThrow(expect.objectContaining({ code: 'JOURNAL_INCOMPLETE' }))
  expect(() => journal.entries(11)).toThrow(expect.objectContaining({ code: 'JOURNAL_INCOMPLETE' }))
  journal.append(batch(10, 11))
  journal.truncateBefore(99)
  journal.close()
  journal = new BatchJournal({ path })
  expect([journal.first, journal.next]).toEqual([11, 11])
  expect(journal.append(command)).toBe(11)
  expect(entriesOf(journal)).toEqual([command])
  journal.close()
})

test('a restart at a number forgets what the log has lost, or begins anew', () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'journal')
  const journal = new BatchJournal({ path })
  for (let i = 0; i < 5; i += 1) journal.append(batch(i, i + 1))
  journal.truncateBefore(1)
  journal.restartAt(3)
  expect([journal.first, journal.next]).toEqual([1, 3])
  expect(journal.append(command)).toBe(3)
  expect(entriesOf(journal)).toEqual([batch(1, 2), batch(2, 3), command])
  journal.restartAt(20)
  expect([journal.first, journal.next]).toEqual([20, 20])
  expect(journal.append(command)).toBe(20)
  journal.close()
  const again = new BatchJournal({ path })
  expect(again.entries(20)).toEqual([{ sequence: 20, entry: command }])
  again.close()
})

test('cut or changed at any byte, entries before it are intact and the journal goes on', () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'journal')
  const written = [batch(0, 3), command, batch(3, 1_000_000)]
  const whole = new BatchJournal({ path })
  for (const entry of written) whole.append(entry)
  whole.close()
  const bytes = readFileSync(path)
  const headerBytes = 24
  fc.assert(
    fc.property(fc.nat({ max: bytes.length - 1 }), fc.boolean(), (at, isCut) => {
      fc.pre(isCut || at >= headerBytes)
      const broken = Buffer.from(isCut ? bytes.subarray(0, at) : bytes)
      if (!isCut) broken[at] ^= 4
      writeFileSync(path, broken)
      const torn: number[] = []
      const journal = new BatchJournal({ path, onTornTail: (lost) => torn.push(lost) })
      const kept = entriesOf(journal)
      expect(kept).toEqual(written.slice(0, kept.length))
      expect(kept.length).toBeLessThan(3)
      expect(journal.append(command)).toBe(kept.length)
      journal.close()
      const again = new BatchJournal({ path, onTornTail: (lost) => torn.push(lost) })
      expect(entriesOf(again)).toEqual([...kept, command])
      again.close()
      expect(torn.length).toBeLessThanOrEqual(1)
    }),
  )
})

test('with its header changed a journal is refused', () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'journal')
  new BatchJournal({ path }).close()
  const bytes = readFileSync(path)
  for (let at = 0; at < bytes.length; at += 1) {
    const broken = Buffer.from(bytes)
    broken[at] ^= 4
    writeFileSync(path, broken)
    const damaged = expect.objectContaining({ code: 'JOURNAL_DAMAGED' })
    expect(() => new BatchJournal({ path })).toThrow(damaged)
  }
})

test('what is no journal is refused', () => {
  using directory = temporaryDirectory()
  const path = join(directory.path, 'journal')
  writeFileSync(path, 'a text of somebody else, long enough')
  expect(() => new BatchJournal({ path })).toThrow('no journal')
  mkdirSync(join(directory.path, 'folder'))
  expect(() => new BatchJournal({ path: join(directory.path, 'folder') })).toThrow(
    expect.objectContaining({ code: 'LOG_UNREADABLE' }),
  )
})
