/**
 * `npm run audit`: fails when something that is shipped has a known weakness of level high or
 * critical. Where nobody can be asked (no network, a mirror without the list) that is said, and is
 * no failure: a check that needs a service must not fail with it.
 */
import { spawnSync } from 'node:child_process'

import * as z from 'zod'

const audit = z.object({
  metadata: z.object({
    vulnerabilities: z.object({ high: z.int(), critical: z.int(), total: z.int() }),
  }),
  vulnerabilities: z.record(z.string(), z.object({ severity: z.string() })),
})

const answerLimitMs = 60_000

/** What is to be said, and the exit code. */
export function verdict(answer: string): { readonly line: string; readonly code: 0 | 1 } {
  const parsed = audit.safeParse(jsonOf(answer))
  if (!parsed.success) {
    return { line: 'not audited: the registry does not answer that question', code: 0 }
  }
  const { metadata, vulnerabilities } = parsed.data
  const { high, critical, total } = metadata.vulnerabilities
  const grave = Object.entries(vulnerabilities)
    .filter(([, { severity }]) => severity === 'high' || severity === 'critical')
    .map(([name, { severity }]) => `${name} (${severity})`)
  if (high + critical === 0) {
    return { line: `audited: ${total} known weaknesses, none grave`, code: 0 }
  }
  return { line: `known weaknesses in ${grave.join(', ')}: see npm audit --omit=dev`, code: 1 }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

if (import.meta.main) {
  const asked = spawnSync('npm', ['audit', '--omit=dev', '--json'], {
    encoding: 'utf8',
    timeout: answerLimitMs,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const { line, code } = verdict(asked.stdout ?? '')
  process.stdout.write(`${line}\n`)
  process.exitCode = code
}
