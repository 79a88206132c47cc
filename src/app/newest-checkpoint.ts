/** The newest good checkpoint of a data directory, and the model that it was made with. */
import { ServiceError } from '../base/errors.ts'
import { type Checkpoint, CheckpointStore } from '../trainer/checkpoint/checkpoint.ts'
import type { TrainerModel } from '../trainer/trainer-config.ts'
import { dataPaths } from './options.ts'

export interface NewestCheckpoint {
  readonly checkpoint: Checkpoint
  readonly saved: Pick<TrainerModel, 'spec' | 'tables' | 'facts'>
  /** Newer checkpoints that could not be read, and why. */
  readonly damaged: readonly string[]
}

export const checkpointStore = (dataDirectory: string): CheckpointStore =>
  new CheckpointStore({ directory: dataPaths(dataDirectory).checkpoints, keep: Infinity })

/** Throws `CHECKPOINT_MISSING`. */
export function newestCheckpoint(dataDirectory: string): NewestCheckpoint {
  const damaged: string[] = []
  const store = checkpointStore(dataDirectory)
  const checkpoint = store.newest((found) => damaged.push(`${found.directory}: ${found.reason}`))
  if (checkpoint === undefined) {
    const { checkpoints } = dataPaths(dataDirectory)
    throw new ServiceError('CHECKPOINT_MISSING', { directory: checkpoints })
  }
  // It was written from such values, and its checksum is right.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const saved = checkpoint.config as unknown as NewestCheckpoint['saved']
  return { checkpoint, saved, damaged }
}
