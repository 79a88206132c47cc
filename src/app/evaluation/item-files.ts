/**
 * Files beside the interactions: titles of items, and the negatives that a published protocol ranks
 * against. Both are the plain text formats of the MovieLens sets and of the papers that use them.
 */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

import { ServiceError } from '../../base/errors.ts'

export interface ItemText {
  readonly itemId: string
  readonly title: string
  /** From `movies.dat`; empty where the file has none in words. */
  readonly genres: readonly string[]
}

/** The held-out item of a user and the items that it is ranked against. */
export interface GivenNegatives {
  readonly userId: string
  readonly itemId: string
  readonly negatives: readonly string[]
}

/** A text file, gzip or not, in UTF-8 or else latin-1. Throws `INPUT_UNREADABLE`. */
function readTextFile(file: string): string {
  try {
    const bytes = readFileSync(file)
    const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes
    return decode(plain)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ServiceError('INPUT_UNREADABLE', { file, reason }, { cause: error })
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new TextDecoder('latin1').decode(bytes)
  }
}

const lines = (text: string): readonly string[] => text.split(/\r?\n/).filter((line) => line !== '')

/** `id|title|...` (u.item) or `id::title::genre|genre` (movies.dat). */
export function readTitles(file: string): readonly ItemText[] {
  return lines(readTextFile(file)).map((line, i) => {
    const [itemId = '', title = '', rest = ''] = line.split(line.includes('::') ? '::' : '|')
    if (itemId === '' || title === '') {
      const reason = `line ${i + 1} is not "id|title" or "id::title"`
      throw new ServiceError('INPUT_UNREADABLE', { file, reason })
    }
    return { itemId, title, genres: line.includes('::') && rest !== '' ? rest.split('|') : [] }
  })
}

/** `(user,item)<tab>negative<tab>negative...`: He et al. 2017. */
export function readNegatives(file: string): readonly GivenNegatives[] {
  return lines(readTextFile(file)).map((line, i) => {
    const [pair = '', ...negatives] = line.split('\t')
    const match = /^\(([^,]+),([^)]+)\)$/.exec(pair)
    if (match === null || negatives.length === 0) {
      const reason = `line ${i + 1} is not "(user,item)" and its negatives, tab separated`
      throw new ServiceError('INPUT_UNREADABLE', { file, reason })
    }
    return { userId: match[1], itemId: match[2], negatives }
  })
}
