/** A real file system of limited size, in memory; undefined where this user may not mount one. */
import { spawnSync } from 'node:child_process'

import { type TemporaryDirectory, temporaryDirectory } from './temporary-directory.ts'

export function smallDisk(kibibytes: number): TemporaryDirectory | undefined {
  const directory = temporaryDirectory()
  const mount = ['-t', 'tmpfs', '-o', `size=${kibibytes}k`, 'tmpfs', directory.path]
  if (spawnSync('mount', mount).status !== 0) {
    directory[Symbol.dispose]()
    return undefined
  }
  return {
    path: directory.path,
    [Symbol.dispose]: () => {
      spawnSync('umount', [directory.path])
      directory[Symbol.dispose]()
    },
  }
}
