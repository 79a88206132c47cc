/** Where a figure was measured, and with which source. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly platform: string
  readonly node: string
}

export const machine = (): Machine & { [key: string]: string | number } => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: availableParallelism(),
  memoryBytes: totalmem(),
  platform: `${process.platform}-${process.arch}`,
  node: process.version,
})

const root = new URL('../../', import.meta.url)

/** The version in package.json. */
export function version(): string {
  const text = readFileSync(new URL('package.json', root), 'utf8')
  return /"version": "([^"]+)"/.exec(text)?.[1] ?? 'unknown'
}

/** The commit of the checkout, `-dirty` if it was changed; of an installed package its version. */
export function sourceCommit(): string {
  try {
    const git = (...args: readonly string[]): string =>
      execFileSync('git', args, {
        cwd: root,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
    const dirty = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '-dirty'
    return `${git('rev-parse', '--short=12', 'HEAD').trim()}${dirty}`
  } catch {
    return `v${version()}`
  }
}

/** The largest resident memory so far. */
export const peakRssBytes = (): number => process.resourceUsage().maxRSS * 1024
