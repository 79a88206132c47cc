/**
 * Log files on a disk of limited size, or that fails when told to: half of a write may have
 * happened.
 */
import type { LogFile, LogFiles } from '../../src/stream/files/log-files.ts'
import { nodeLogFiles } from '../../src/stream/files/log-files.ts'

export class FaultyFiles implements LogFiles {
  /** Bytes that may still be written. */
  room = Infinity
  /** Thrown by the next operation of its name, once. */
  readonly faults = new Map<'sync' | 'write' | 'truncate' | 'open', Error>()
  syncs = 0
  /** Resolves before every sync: hold it to keep a group commit waiting. */
  gate: Promise<unknown> = Promise.resolve()

  async open(path: string): Promise<LogFile> {
    this.#fault('open')
    const file = await nodeLogFiles.open(path)
    return {
      write: async (bytes, position) => {
        const some = bytes.subarray(0, Math.max(0, this.room))
        await file.write(some, position)
        this.room -= some.length
        this.#fault('write')
        if (some.length < bytes.length) throw coded('ENOSPC')
      },
      sync: async () => {
        await this.gate
        this.syncs += 1
        this.#fault('sync')
        await file.sync()
      },
      truncate: async (length) => {
        this.#fault('truncate')
        await file.truncate(length)
      },
      close: () => file.close(),
    }
  }

  remove(path: string): Promise<void> {
    return nodeLogFiles.remove(path)
  }

  syncDirectory(path: string): Promise<void> {
    return nodeLogFiles.syncDirectory(path)
  }

  #fault(operation: 'sync' | 'write' | 'truncate' | 'open'): void {
    const fault = this.faults.get(operation)
    this.faults.delete(operation)
    if (fault !== undefined) throw fault
  }
}

/** Files whose syncs cost nothing: for tests that open a log hundreds of times and cut no power. */
export const unsyncedFiles: LogFiles = {
  async open(path) {
    const file = await nodeLogFiles.open(path)
    return {
      write: (bytes, position) => file.write(bytes, position),
      truncate: (length) => file.truncate(length),
      close: () => file.close(),
      sync: () => Promise.resolve(),
    }
  },
  remove: (path) => nodeLogFiles.remove(path),
  syncDirectory: () => Promise.resolve(),
}

export const coded = (code: string): Error => Object.assign(new Error(`${code}: a fault`), { code })
