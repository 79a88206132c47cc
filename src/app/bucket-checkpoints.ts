/**
 * Checkpoints for who only looks: those of the data directory, or, where they are in a bucket, the
 * newest good copy of there, in a temporary folder while it is looked at.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { ServiceError } from '../base/errors.ts'
import { CheckpointMirror } from '../trainer/checkpoint/checkpoint-mirror.ts'
import { openCopies } from '../trainer/checkpoint/open-copies.ts'
import type { Config } from './config/config-schema.ts'
import { copiesOptions } from './config/servers-options.ts'
import { dataPaths } from './options.ts'

export interface LookOptions {
  readonly config: Config
  readonly progress: (line: string) => void
}

/** `look` gets the configuration with the directory. Throws `CHECKPOINT_*`. */
export async function withCheckpoints<Result>(
  { config, progress }: LookOptions,
  look: (config: Config) => Promise<Result>,
): Promise<Result> {
  const place = copiesOptions(config)
  if (place === undefined) return await look(config)
  const copies = await openCopies(place)
  const dataDirectory = await mkdtemp(join(tmpdir(), 'freshet-look-'))
  try {
    if ((await copies.list()).length === 0) {
      throw new ServiceError('CHECKPOINT_MISSING', { directory: copies.place })
    }
    const { checkpoints: directory } = dataPaths(dataDirectory)
    const report = ({ message }: { readonly message: string }): void => progress(message)
    const mirror = new CheckpointMirror({ directory, keep: Infinity, copies, report })
    await mirror.fetch(() => undefined)
    return await look({ ...config, process: { ...config.process, dataDirectory } })
  } finally {
    copies.close()
    await rm(dataDirectory, { recursive: true, force: true })
  }
}
