/**
 * What opening a log cuts off its end is kept beside it for a person to look at: nearly always half
 * an append that nobody was told of, but a last record that the disk has damaged looks the same.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { LogFiles } from './log-files.ts'

const suffix = '.torn'
/** The newest ones stay, and of each so much. */
const keptTails = 8
const mostBytes = 16 << 20

interface CutTail {
  readonly directory: string
  readonly segment: string
  /** Where it is cut. */
  readonly byte: number
  readonly files: LogFiles
}

/** The name of the file; undefined: there was no room for it. */
export async function keepTornTail(cut: CutTail): Promise<string | undefined> {
  const { directory, segment, byte } = cut
  const name = `${segment}.${String(byte).padStart(12, '0')}${suffix}`
  try {
    const bytes = await readFile(join(directory, segment))
    await write(cut, name, bytes.subarray(byte, byte + mostBytes))
    await removeOldest(cut)
    return name
  } catch {
    // The log matters more: on a full disk it is opened without.
    return undefined
  }
}

async function write({ directory, files }: CutTail, name: string, bytes: Buffer): Promise<void> {
  const file = await files.open(join(directory, name))
  try {
    await file.truncate(0)
    await file.write(bytes, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function removeOldest({ directory, files }: CutTail): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith(suffix)).toSorted()
  for (const name of names.slice(0, -keptTails)) await files.remove(join(directory, name))
}
