import { appendFileSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { JournalTail } from '../../../src/stream/files/journal-tail.ts'
import { BatchJournal, type JournalEntry } from '../../../src/stream/files/journal.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const command = (number: number): JournalEntry => ({
  kind: 'command',
  name: 'restrict',
  payload: { number },
})

function opened() {
  const directory = temporaryDirectory()
  const path = join(directory.path, 'batches')
  const journal = new BatchJournal({ path })
  const tail = new JournalTail(path)
  const append = (...numbers: readonly number[]): void => {
    for (const number of numbers) journal.append(command(number))
  }
  const close = (): void => {
    tail[Symbol.dispose]()
    journal.close()
    directory[Symbol.dispose]()
  }
  return { path, journal, tail, append, [Symbol.dispose]: close }
}

/** A place behind the entry with that content. */
const behind = (sequence: number, number = sequence - 1) => ({
  sequence,
  last: { sequence: sequence - 1, entry: command(number) },
})

const sequences = (found: ReturnType<JournalTail['read']>): readonly number[] | undefined =>
  found?.map(({ sequence }) => sequence)

test('entries are read as they come, from wherever the reader stands', () => {
  using parts = opened()
  const { tail, append } = parts
  expect(tail.read({ sequence: 0 })).toEqual([])
  append(0, 1)
  expect(tail.read({ sequence: 0 })).toEqual([
    { sequence: 0, entry: command(0) },
    { sequence: 1, entry: command(1) },
  ])
  expect(tail.read(behind(2))).toEqual([])
  append(2, 3, 4)
  expect(sequences(tail.read(behind(2)))).toEqual([2, 3, 4])
  expect(sequences(tail.read(behind(4)))).toEqual([4])
})

test('an entry that is not whole yet is one of the next look', () => {
  using parts = opened()
  const { path, tail, append } = parts
  append(0, 1)
  const whole = readFileSync(path)
  for (let cut = 1; cut < 20; cut += 1) {
    truncateSync(path, whole.length - cut)
    expect(sequences(tail.read({ sequence: 0 }))).toEqual([0])
    appendFileSync(path, whole.subarray(whole.length - cut))
    expect(sequences(tail.read(behind(1)))).toEqual([1])
  }
})

test('a journal that was cut, and is another file, is read on', () => {
  using parts = opened()
  const { journal, tail, append } = parts
  append(0, 1, 2)
  expect(sequences(tail.read({ sequence: 1 }))).toEqual([1, 2])
  journal.truncateBefore(2)
  append(3)
  expect(sequences(tail.read(behind(3)))).toEqual([3])
  // What is before the place is gone: nobody can say whether it was the same.
  journal.truncateBefore(4)
  expect(tail.read(behind(4))).toBe(undefined)
  expect(tail.read({ sequence: 4 })).toEqual([])
  expect(tail.read({ sequence: 3 })).toBe(undefined)
})

test('a journal with another entry before the place does not lead on from there', () => {
  using parts = opened()
  const { journal, tail, append } = parts
  append(0, 1, 2)
  expect(sequences(tail.read({ sequence: 0 }))).toEqual([0, 1, 2])
  journal.restartAt(1)
  expect(tail.read(behind(3))).toBe(undefined)
  append(7, 8)
  expect(tail.read(behind(3))).toBe(undefined)
  expect(sequences(tail.read(behind(2, 7)))).toEqual([2])
})

test('without a file there is nothing to lead on', () => {
  using directory = temporaryDirectory()
  using tail = new JournalTail(join(directory.path, 'batches'))
  expect(tail.read({ sequence: 0 })).toBe(undefined)
})
