/** Makes a directory that a user named. */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { ServiceError } from '../base/errors.ts'

/**
 * Makes `directory` and the parents that it lacks. One level at a time: Node's own `recursive` asks
 * again for ever where a file system refuses a name below a parent that is there, as /proc does.
 * Throws `DATA_UNUSABLE`.
 */
export function makeDirectory(directory: string): void {
  const path = resolve(directory)
  if (existsSync(path)) return
  if (dirname(path) !== path) makeDirectory(dirname(path))
  try {
    mkdirSync(path)
  } catch (cause) {
    // Another process may have been quicker.
    if (existsSync(path)) return
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ServiceError('DATA_UNUSABLE', { directory: path, reason }, { cause })
  }
}
