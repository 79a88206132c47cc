/**
 * Debian's package manager, asked by one process at a time: test files run beside each other, and
 * its own lock would fail all but one of them.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { getuid } from 'node:process'

import { caches } from './cache.ts'
import { programOnPath } from './programs.ts'

const installLimitMs = 300_000

/** Throws where this is not root, or not Debian, or the package cannot be had. */
export function installFromDebian(name: string): void {
  if (getuid?.() !== 0) throw new Error('apt-get needs root')
  if (programOnPath('apt-get') === undefined) throw new Error('no apt-get on the path')
  mkdirSync(caches, { recursive: true })
  const install = `apt-get update && apt-get install -y --no-install-recommends ${name}`
  execFileSync('flock', [join(caches, 'apt.lock'), 'sh', '-c', install], {
    stdio: 'pipe',
    timeout: installLimitMs,
  })
}
