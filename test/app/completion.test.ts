import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { run } from '../support/cli.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

test.each([
  [['im'], 'import'],
  [['import', 'ta'], 'tables'],
  [['import', 'tables', '--fr'], '--from --from-tag'],
  [['keys', 'create', 'shop', '--sc'], '--scope'],
  [['start', '--po'], '--port'],
  [['config', ''], 'schema options show validate --help'],
])('bash completes %j', async (words, expected) => {
  using folder = temporaryDirectory()
  const script = join(folder.path, 'completion.bash')
  writeFileSync(script, (await run('completion', 'bash')).text)
  const typed = ['freshet', ...words].map((word) => `'${word}'`).join(' ')
  const ask = `source ${script}; COMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _freshet`
  const said = execFileSync('bash', ['-c', `${ask}; echo "\${COMPREPLY[*]}"`], { encoding: 'utf8' })
  expect(said.trim()).toBe(expected)
})

test('zsh gets the same by its emulation, and other shells are told which there are', async () => {
  expect((await run('completion', 'zsh')).text).toMatch(/^#compdef freshet\n.*bashcompinit/)
  const { code, err } = await run('completion', 'tcsh')
  expect([code, err.join()]).toEqual([2, expect.stringContaining('bash | zsh | fish')])
})

test('fish gets the same words for the same places', async () => {
  const { text } = await run('completion', 'fish')
  expect(text).toContain(" 'freshet import tables'")
  expect(text).toMatch(/case 'freshet config'; printf '%s\\n' schema options show validate --help/)
  expect(text.endsWith("complete -c freshet -a '(__freshet_words)'")).toBe(true)
})
