/**
 * Finds a Chromium, or has one installed by Debian's package manager as root. By hand:
 * `node test/support/fetch-chromium.ts` prints its path. `FRESHET_TEST_CHROMIUM` names another.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { getuid } from 'node:process'

const installLimitMs = 300_000
const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'] as const

const onPath = (): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((path) => existsSync(path))

function install(): void {
  const options = { stdio: 'pipe', timeout: installLimitMs } as const
  execFileSync('apt-get', ['update'], options)
  execFileSync('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'], options)
}

/** The path of the program; throws where none can be had. */
export function chromiumProgram(): string {
  const found = process.env['FRESHET_TEST_CHROMIUM'] ?? onPath()
  if (found !== undefined) return found
  const how = 'install chromium on the path, or name one in FRESHET_TEST_CHROMIUM'
  if (getuid?.() !== 0) throw new Error(`no Chromium: ${how} (apt-get needs root)`)
  install()
  const installed = onPath()
  if (installed === undefined) throw new Error(`no Chromium: ${how}`)
  return installed
}

if (import.meta.main) process.stdout.write(`${chromiumProgram()}\n`)
