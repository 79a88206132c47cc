/**
 * The few operations on files that the log writes through: a seam, so that a test can make a disk
 * full or a write fail half way. Reading goes to the file system directly.
 */
import { type FileHandle, open, rm } from 'node:fs/promises'

export interface LogFile {
  /** Writes all of `bytes` at `position`; having thrown, it may have written a part. */
  write(bytes: Uint8Array, position: number): Promise<void>
  /** Resolves when everything written is on disk. */
  sync(): Promise<void>
  truncate(length: number): Promise<void>
  close(): Promise<void>
}

export interface LogFiles {
  /** Opens an existing file, or creates one, for writing. */
  open(path: string): Promise<LogFile>
  remove(path: string): Promise<void>
  /** Makes the names in a directory durable. */
  syncDirectory(path: string): Promise<void>
}

class NodeLogFile implements LogFile {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0
    while (done < bytes.length) {
      const left = bytes.length - done
      const { bytesWritten } = await this.#handle.write(bytes, done, left, position + done)
      done += bytesWritten
    }
  }

  sync(): Promise<void> {
    return this.#handle.datasync()
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length)
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

export const nodeLogFiles: LogFiles = {
  async open(path) {
    // Neither 'w' (empties the file) nor 'a' (ignores the position): O_RDWR | O_CREAT.
    const handle = await open(path, 'r+').catch((error: unknown) => {
      if (isCode(error, 'ENOENT')) return open(path, 'wx+')
      throw error
    })
    return new NodeLogFile(handle)
  },

  remove: (path) => rm(path),

  async syncDirectory(path) {
    const handle = await open(path, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
}

/** Whether an error of the file system has one of these codes. */
export const isCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error &&
  'code' in error &&
  typeof error.code === 'string' &&
  codes.includes(error.code)

/** No space left, quota reached, file too large. */
export const isDiskFull = (error: unknown): boolean => isCode(error, 'ENOSPC', 'EDQUOT', 'EFBIG')
