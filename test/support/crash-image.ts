/** What a killed process leaves behind. */
import { cpSync, rmSync } from 'node:fs'

/** More than there are operations in flight: none is begun while this thread copies. */
const attempts = 10

/**
 * Copies the files of a process that is at work in this thread as they are now; returns where to.
 * What is on its way already, in threads that write, may take a file away between the look at its
 * directory and its copy: then all are copied again.
 */
export function crashImage(directory: string, into: string): string {
  for (let attempt = 1; ; attempt += 1) {
    try {
      cpSync(directory, into, { recursive: true })
      return into
    } catch (error) {
      const isGone = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      if (!isGone || attempt === attempts) throw error
      rmSync(into, { recursive: true, force: true })
    }
  }
}
