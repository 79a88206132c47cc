/** The files of the log, with every sync timed. */
import type { Clock } from '../../base/clock.ts'
import type { LogFile, LogFiles } from '../../stream/files/log-files.ts'

/**
 * `synced` is told how many milliseconds each sync of a file took; one that fails is not counted.
 */
export function timedFiles(
  files: LogFiles,
  clock: Clock,
  synced: (milliseconds: number) => void,
): LogFiles {
  const timed = (file: LogFile): LogFile => ({
    write: (bytes, position) => file.write(bytes, position),
    truncate: (length) => file.truncate(length),
    close: () => file.close(),
    async sync() {
      const begin = clock.monotonic()
      await file.sync()
      synced(clock.monotonic() - begin)
    },
  })
  return {
    open: async (path) => timed(await files.open(path)),
    remove: (path) => files.remove(path),
    syncDirectory: (path) => files.syncDirectory(path),
  }
}
