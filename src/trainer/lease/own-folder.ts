/**
 * Fencing of a folder that trainers share. What a successor will read is prepared in a folder of
 * the lease's own, `epoch-<epoch>`, and renamed out of it into its place. Whoever takes over moves
 * the folders of all leases before its own away first, and reads then: what its predecessor has put
 * in place by then counts, and what it still tries to is refused by the file system, in the same
 * moment and however long it was paused in between.
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { pid } from 'node:process'

import { ServiceError } from '../../base/errors.ts'
import { isCode } from '../../stream/files/log-files.ts'

const prefix = 'epoch-'
const awayPrefix = 'fenced-'

/**
 * Makes the folder of this lease inside `directory` and takes those of leases before it away; its
 * path. Throws `LEASE_LOST` where a later lease has been here, `DATA_UNUSABLE`.
 */
export async function claimFolder(directory: string, epoch: number): Promise<string> {
  try {
    return await claim(directory, epoch)
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause
    throw new ServiceError('DATA_UNUSABLE', { directory, reason: String(cause) }, { cause })
  }
}

async function claim(directory: string, epoch: number): Promise<string> {
  const own = join(directory, `${prefix}${epoch}`)
  // Before looking around: of two that do the same at once one sees the other.
  await mkdir(own, { recursive: true })
  const names = await readdir(directory)
  const epochs = names.filter((name) => name.startsWith(prefix)).map(epochOf)
  const later = Math.max(...epochs)
  if (later > epoch) {
    await rm(own, { recursive: true, force: true })
    throw new ServiceError('LEASE_LOST', { holder: `${hostname()}:${pid}`, epoch })
  }
  for (const other of epochs.filter((found) => found < epoch)) await fence(directory, other)
  const leftOver = names.filter((name) => name.startsWith(awayPrefix))
  for (const name of leftOver) await rm(join(directory, name), { recursive: true, force: true })
  return own
}

const epochOf = (name: string): number => Number(name.slice(prefix.length))

/** First away in one step, then file by file. */
async function fence(directory: string, epoch: number): Promise<void> {
  const away = join(directory, `${awayPrefix}${epoch}`)
  try {
    await rename(join(directory, `${prefix}${epoch}`), away)
  } catch (error) {
    // Another one of the same mind was faster.
    if (!isCode(error, 'ENOENT')) throw error
  }
  await rm(away, { recursive: true, force: true })
}
