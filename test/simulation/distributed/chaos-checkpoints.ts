/**
 * Where the trainers of a run of the crash test have their checkpoints: in one folder that they
 * share, or in a bucket, each with a folder of its own that a standby begins without.
 */
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

import { dataPaths } from '../../../src/app/options.ts'
import { CheckpointCopies } from '../../../src/trainer/checkpoint/checkpoint-copies.ts'
import { sequenceOf } from '../../../src/trainer/checkpoint/checkpoint.ts'
import { S3Objects } from '../../../src/trainer/checkpoint/s3-objects.ts'
import type { S3Server } from '../../support/s3-server.ts'

export interface ChaosCheckpoints {
  /** The data directory of a trainer. */
  directoryOf(trainer: string): string
  /** Of the configuration of a process that reaches the bucket by this port. */
  settings(port: number): readonly string[]
  /** Whether there is one that a start can begin from. */
  areThere(): Promise<boolean>
  /**
   * A data directory with the oldest and the newest, and with the journal of the trainer that was
   * active last.
   */
  gathered(trainer: string): Promise<string>
}

const isCheckpoint = (name: string): boolean => sequenceOf(name) !== undefined

export function sharedFolder(directory: string): ChaosCheckpoints {
  const { checkpoints } = dataPaths(directory)
  return {
    directoryOf: () => directory,
    settings: () => [],
    areThere: () =>
      Promise.resolve(existsSync(checkpoints) && readdirSync(checkpoints).some(isCheckpoint)),
    gathered: () => Promise.resolve(directory),
  }
}

export class ChaosBucket implements ChaosCheckpoints {
  readonly #store: S3Server
  readonly #prefix: string
  readonly #root: string

  /** `run`: the name of its copies; `root`: for the folders of the trainers. */
  constructor(store: S3Server, run: string, root: string) {
    this.#store = store
    this.#prefix = `${run}/`
    this.#root = root
  }

  directoryOf(trainer: string): string {
    return join(this.#root, trainer.replace(' ', '-'))
  }

  settings(port: number): readonly string[] {
    const { bucket, credentials } = this.#store.settings
    const values = {
      bucket,
      prefix: this.#prefix,
      endpoint: `http://127.0.0.1:${port}`,
      accessKeyId: credentials?.accessKeyId,
      secretAccessKey: credentials?.secretAccessKey,
      requestTimeoutMs: 2_000,
    }
    const entries = Object.entries(values)
    return [
      'process.checkpoints.store=s3',
      ...entries.map(([name, value]) => `process.checkpoints.s3.${name}=${value}`),
    ]
  }

  areThere(): Promise<boolean> {
    return this.#look(async (copies) => (await copies.list()).length > 0)
  }

  gathered(trainer: string): Promise<string> {
    const directory = this.directoryOf('verdict')
    const [from, to] = [this.directoryOf(trainer), directory].map(dataPaths)
    cpSync(from.journal, to.journal, { recursive: true })
    mkdirSync(to.checkpoints, { recursive: true })
    return this.#look(async (copies) => {
      const all = await copies.list()
      const [oldest, newest] = [all.at(0), all.at(-1)]
      if (oldest === undefined || newest === undefined) throw new Error('the bucket is empty')
      const { base } = await copies.manifest(newest)
      const needed = all.findLast(({ sequence }) => sequence === base)
      for (const copy of new Set([oldest, needed ?? newest, newest])) {
        await copies.fetch(copy, to.checkpoints)
      }
      return directory
    })
  }

  async #look<Found>(look: (copies: CheckpointCopies) => Promise<Found>): Promise<Found> {
    const objects = new S3Objects(this.#store.settings)
    try {
      return await look(new CheckpointCopies({ objects, prefix: this.#prefix }))
    } finally {
      objects.close()
    }
  }
}
