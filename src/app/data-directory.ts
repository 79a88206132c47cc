/** The data directory: who may use it, what lies where. */
import { accessSync, constants, mkdirSync, statSync } from 'node:fs'

import { ServiceError } from '../base/errors.ts'
import { dataPaths } from './options.ts'

/**
 * Makes what is missing and checks that all of it can be written. Throws `DATA_UNUSABLE`. That
 * only one process uses it is the event log's business: it holds the lock.
 */
export function prepareDataDirectory(directory: string): void {
  for (const path of [directory, ...Object.values(dataPaths(directory))]) {
    try {
      mkdirSync(path, { recursive: true })
      if (!statSync(path).isDirectory()) throw new Error('not a directory')
      accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new ServiceError('DATA_UNUSABLE', { directory: path, reason }, { cause })
    }
  }
}
