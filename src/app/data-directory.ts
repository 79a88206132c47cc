/** The data directory: who may use it, what lies where. */
import { accessSync, constants, statSync } from 'node:fs'

import { ServiceError } from '../base/errors.ts'
import type { ProcessConfig, Role } from './config/config-process-schema.ts'
import { makeDirectory } from './make-directory.ts'
import { dataPaths } from './options.ts'

interface Used extends Pick<ProcessConfig, 'dataDirectory' | 'shape'> {
  readonly roles: readonly Role[]
}

/**
 * Makes what is missing and checks that all of it can be written. Throws `DATA_UNUSABLE`. That
 * only one process uses it is the business of the event log, which holds the lock, or the trainer's
 * lease.
 */
export function prepareDataDirectory({ dataDirectory: directory, shape, roles }: Used): void {
  // The record of experiments is made when there is something to record.
  const { log, experiment: _, ...kept } = dataPaths(directory)
  // Where the log is elsewhere, only the trainer has something to keep.
  if (shape === 'distributed' && !roles.includes('trainer')) return
  const logs = shape === 'distributed' ? [] : [log]
  for (const path of [directory, ...logs, ...Object.values(kept)]) {
    makeDirectory(path)
    try {
      if (!statSync(path).isDirectory()) throw new Error('not a directory')
      accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new ServiceError('DATA_UNUSABLE', { directory: path, reason }, { cause })
    }
  }
}
