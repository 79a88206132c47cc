/**
 * Names of what lies in Redis for one model, all under one hash tag, so that in a cluster scripts
 * find it on one node; see "Parameters in Redis" in docs/formats.md.
 */
import { assert } from '../../base/assert.ts'

export interface SyncNames {
  readonly lease: string
  /** Hash: how far the trainer is, which snapshot is the newest, which is asked for. */
  readonly head: string
  /** Stream of deltas. */
  readonly deltas: string
  /** Hash: where each reader stands. */
  readonly readers: string
  /** List of the batch journal's entries, and the number of the first of them. */
  readonly journal: string
  readonly journalFirst: string
  /** Hash of the chunks of one snapshot. */
  snapshot(id: string): string
}

export function syncNames(model: string): SyncNames {
  assert(model !== '' && !/[{}]/.test(model), 'a name without braces')
  const prefix = `freshet:{sync:${model}}`
  return {
    lease: `${prefix}:lease`,
    head: `${prefix}:head`,
    deltas: `${prefix}:deltas`,
    readers: `${prefix}:readers`,
    journal: `${prefix}:journal`,
    journalFirst: `${prefix}:journal-first`,
    snapshot: (id) => `${prefix}:snapshot:${id}`,
  }
}

/** One entry of the stream: a chunk of a delta. */
export interface ChunkPlace {
  readonly epoch: number
  readonly sequence: number
  readonly chunk: number
}

/** Most chunks of a delta. */
export const maxChunks = 65_536

/**
 * Says what the entry holds, so that the same chunk can be added only once, and entries are in the
 * order of epochs, sequences and chunks.
 */
export const entryId = ({ epoch, sequence, chunk }: ChunkPlace): string =>
  `${epoch}-${sequence * maxChunks + chunk}`

export function placeOf(id: string): ChunkPlace {
  const [epoch = 0, rest = 0] = id.split('-').map(Number)
  return { epoch, sequence: Math.floor(rest / maxChunks), chunk: rest % maxChunks }
}

/** The newest snapshot, as `head` names it. */
export interface SnapshotPlace {
  readonly id: string
  readonly epoch: number
  readonly sequence: number
  readonly chunks: number
  /** Epoch ms. */
  readonly writtenAt: number
}

export const snapshotText = ({ id, epoch, sequence, chunks, writtenAt }: SnapshotPlace): string =>
  [id, epoch, sequence, chunks, writtenAt].join(' ')

export function snapshotOf(text: string): SnapshotPlace | undefined {
  if (text === '') return undefined
  const [id = '', ...numbers] = text.split(' ')
  const [epoch = 0, sequence = 0, chunks = 0, writtenAt = 0] = numbers.map(Number)
  return { id, epoch, sequence, chunks, writtenAt }
}
