/**
 * The README as a test: every command it shows is typed, in order, into an empty service, and the
 * answer must be the one it shows. `…` there stands for one JSON value that differs from run to run.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

import { expect, test } from 'vitest'

import { startService } from './support/service-process.ts'

const run = promisify(execFile)

interface Exchange {
  readonly command: string
  readonly answer: string
}

const readme = readFileSync('README.md', 'utf8')
const exchanges = (text: string): Exchange[] =>
  [...text.matchAll(/```console\n([\s\S]*?)```/g)].flatMap(([, block = '']) =>
    [...block.matchAll(/^\$ (.+)\n(.+)$/gm)].map(([, command = '', answer = '']) => ({
      command,
      answer,
    })),
  )

/** The shown answer as a pattern: `…` matches one JSON value, whatever its nesting. */
const pattern = (answer: string): RegExp =>
  new RegExp(`^${RegExp.escape(answer).replaceAll('…', '(?:"[^"]*"|\\{.*?\\}\\}?|[^,{}"]+)')}$`)

test('every command of the README gets the answer that the README shows', async () => {
  await using service = await startService()
  for (const { command, answer } of exchanges(readme)) {
    const line = command.replaceAll('localhost:8080', service.address)
    const { stdout } = await run('sh', ['-c', line])
    expect(`${command}\n${stdout}`).toMatch(pattern(`${command}\n${answer}`))
  }
}, 60_000)

test('the README shows every kind of request', () => {
  const shown = exchanges(readme).map(({ command }) => command.replace(/^curl -s /, ''))
  expect(shown.length).toBeGreaterThan(10)
  expect(readme.split('\n').length).toBeLessThanOrEqual(200)
})
