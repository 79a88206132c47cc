import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { afterAll, expect, test } from 'vitest'

import { readNegatives, readTitles } from '../../../src/app/evaluation/item-files.ts'

const directory = mkdtempSync(join(tmpdir(), 'freshet-items-'))
afterAll(() => rmSync(directory, { recursive: true }))

const written = (content: string | Uint8Array) => {
  const file = join(directory, 'file')
  writeFileSync(file, content)
  return file
}

test('titles separated by | in latin-1', () => {
  const file = written(Buffer.from('1|Léon (1994)|x\n2|Toy Story|y\n', 'latin1'))
  expect(readTitles(file)).toEqual([
    { itemId: '1', title: 'Léon (1994)', genres: [] },
    { itemId: '2', title: 'Toy Story', genres: [] },
  ])
})

test('titles and genres separated by ::, gzip', () => {
  const file = written(gzipSync('7::Amélie::Comedy|Romance\r\n'))
  expect(readTitles(file)).toEqual([
    { itemId: '7', title: 'Amélie', genres: ['Comedy', 'Romance'] },
  ])
})

test('negatives of a leave-one-out protocol', () => {
  expect(readNegatives(written('(0,25)\t1064\t174\n'))).toEqual([
    { userId: '0', itemId: '25', negatives: ['1064', '174'] },
  ])
})

test.each([
  ['titles', () => readTitles(written('no separator'))],
  ['negatives', () => readNegatives(written('1,2\t3'))],
  ['a file that is not there', () => readTitles(join(directory, 'none'))],
])('what cannot be read is an error that says why: %s', (_, read) => {
  expect(read).toThrow(/cannot read .*(line 1 is not|ENOENT)/)
})
