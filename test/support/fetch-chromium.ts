/**
 * Finds a Chromium, or has one installed by Debian's package manager as root. By hand:
 * `node test/support/fetch-chromium.ts` prints its path. `FRESHET_TEST_CHROMIUM` names another.
 */
import { env } from 'node:process'

import { installFromDebian } from './debian.ts'
import { programOnPath } from './programs.ts'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'] as const

function fromDebian(): string | undefined {
  try {
    installFromDebian('chromium')
    return programOnPath(...names)
  } catch (error) {
    const how = 'install chromium on the path, or name one in FRESHET_TEST_CHROMIUM'
    throw new Error(`no Chromium: ${how}`, { cause: error })
  }
}

/** The path of the program; throws where none can be had. */
export function chromiumProgram(): string {
  const path = env['FRESHET_TEST_CHROMIUM'] ?? programOnPath(...names) ?? fromDebian()
  if (path === undefined) throw new Error('no Chromium: its package puts none on the path')
  return path
}

if (import.meta.main) process.stdout.write(`${chromiumProgram()}\n`)
