/**
 * Where a reader begins: facts of the newest checkpoint that the log still reaches, out of the
 * folder of checkpoints or from their copies.
 */
import { ServiceError } from '../base/errors.ts'
import type { EventLogReader, Position } from '../stream/event-log.ts'
import type { CheckpointCopies } from '../trainer/checkpoint/checkpoint-copies.ts'
import { type CheckpointHeader, CheckpointStore } from '../trainer/checkpoint/checkpoint.ts'
import { openCopies } from '../trainer/checkpoint/open-copies.ts'
import type { Config } from './config/config-schema.ts'
import { copiesOptions } from './config/servers-options.ts'
import { dataPaths } from './options.ts'

export interface SavedFacts {
  readonly facts: Uint8Array
  readonly position: Position
}

type IsReached = (header: CheckpointHeader) => boolean

const part = 'facts'

/**
 * Undefined: there is no such checkpoint, and the log is folded from its start. Throws
 * `CHECKPOINT_STORE_*`, and what the log throws.
 */
export async function checkpointFacts(
  config: Config,
  log: EventLogReader,
): Promise<SavedFacts | undefined> {
  const end = await log.end()
  const isReached: IsReached = ({ position }) =>
    Object.entries(position).every(([id, at]) => log.compare(at, end[Number(id)] ?? '') <= 0)
  const elsewhere = copiesOptions(config)
  if (elsewhere === undefined) return ofFolder(config.process.dataDirectory, isReached)
  const copies = await openCopies(elsewhere)
  try {
    return await ofCopies(copies, isReached)
  } finally {
    copies.close()
  }
}

function ofFolder(directory: string, isReached: IsReached): SavedFacts | undefined {
  const store = new CheckpointStore({ directory: dataPaths(directory).checkpoints, keep: Infinity })
  const found = store.newest(
    () => undefined,
    (header) => (isReached(header) ? undefined : 'it is ahead of the log'),
  )
  const [facts] = found === undefined ? [] : [...found.chunks(part)]
  return found && facts && { facts, position: found.position }
}

/** What is damaged, or is removed while it is read, is passed over. */
async function ofCopies(
  copies: CheckpointCopies,
  isReached: IsReached,
): Promise<SavedFacts | undefined> {
  for (const copy of (await copies.list()).toReversed()) {
    try {
      const header = await copies.manifest(copy)
      const [facts] = isReached(header) ? await copies.part(copy, part) : []
      if (facts !== undefined) return { facts, position: header.position }
    } catch (error) {
      if (error instanceof ServiceError) throw error
    }
  }
  return undefined
}
