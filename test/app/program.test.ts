import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { runCli } from '../../src/app/program.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const run = async (...args: readonly string[]) => {
  const out: string[] = []
  const err: string[] = []
  let code = 0
  await runCli(['node', 'freshet', ...args], {
    print: (line) => out.push(line),
    progress: (line) => err.push(line),
    interactive: false,
    exit: (given) => {
      code = given
    },
  })
  return { out: out.join('\n'), err: err.join('\n'), code }
}

describe('help', () => {
  test('lists every command and the exit codes', async () => {
    const { out, code } = await run('--help')
    expect(code).toBe(0)
    for (const name of ['start', 'demo', 'replay', 'evaluate', 'bench', 'inspect', 'config']) {
      expect(out).toContain(`  ${name} `)
    }
    expect(out).toContain('Exit codes:')
  })

  test.each([
    ['start'],
    ['demo'],
    ['replay'],
    ['evaluate'],
    ['inspect'],
    ['config'],
    ['rows', 'list'],
    ['rows', 'expire'],
    ['bench'],
    ['bench', 'table'],
    ['bench', 'train'],
    ['bench', 'index'],
    ['bench', 'log'],
    ['bench', 'http'],
    ['bench', 'freshness'],
  ])('there is help for %s %s', async (...command) => {
    const { out, code } = await run(...command, '--help')
    expect([code, out]).toEqual([0, expect.stringContaining('Usage: freshet')])
  })

  test('the version is that of the package', async () => {
    expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+$/)
  })
})

describe('a wrong command line', () => {
  test('gets the nearest right flag and code 2', async () => {
    const { err, code } = await run('start', '--prot', '1')
    expect(code).toBe(2)
    expect(err).toContain('Did you mean --port?')
  })

  test('gets the nearest right command', async () => {
    const { err, code } = await run('strat')
    expect([code, err]).toEqual([2, expect.stringContaining('Did you mean start?')])
  })

  test.each([
    ['start', '--port', '70000'],
    ['start', '--port', 'x'],
    ['demo', '--rate', '-1'],
    ['demo', '--rate', 'NaN'],
    ['versions', 'traffic', 'wide', 'abc'],
    ['versions', 'traffic', 'wide', '101'],
    ['bench', 'train', '--layers', '64,x'],
    ['bench', 'table', '--backend', 'floppy'],
  ])('says what was expected: %s %s %s', async (...args) => {
    const { err, code } = await run(...args)
    expect([code, err]).toEqual([2, expect.stringMatching(/expected/)])
  })

  test('a data directory that is damaged is code 3', async () => {
    using directory = temporaryDirectory()
    writeFileSync(join(directory.path, 'versions.json'), '{')
    const { err, code } = await run('start', '--data', directory.path, '--port', '0')
    expect([code, err]).toEqual([3, expect.stringContaining('VERSIONS_DAMAGED')])
  })

  test('a wrong configuration is code 2, and JSON too when asked for', async () => {
    const { out, err, code } = await run('start', '--json', '--set', 'model.dmi=3')
    expect(code).toBe(2)
    expect(err).toMatch(/^freshet: CONFIG_INVALID: .*did you mean "dim"\?$/)
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'CONFIG_INVALID' } })
  })
})

/** What `freshet config NAME --json` says, on one line. */
async function asked(name: string): Promise<unknown> {
  const { out } = await run('config', name, '--json')
  expect(out.trim()).not.toContain('\n')
  return JSON.parse(out)
}

describe('config', () => {
  test('schema is JSON', async () => {
    expect(JSON.parse((await run('config', 'schema')).out)).toHaveProperty('properties.model')
  })

  test('show prints what is in force', async () => {
    const { out } = await run('config', 'show', '--json', '--set', 'process.http.port=5')
    expect(JSON.parse(out)).toMatchObject({ process: { http: { port: 5, host: '127.0.0.1' } } })
    expect((await run('config', 'show')).out).toContain('  http:')
    const redis = '{url: "redis://ann:secret@db", password: secret}'
    const secrets = ['--set', `process.redis=${redis}`, '--set', `process.tables.redis=${redis}`]
    const sasl = 'process.kafka.sasl={mechanism: plain, username: ann, password: secret}'
    const hidden = await run('config', 'show', ...secrets, '--set', sasl)
    expect(hidden.out).toContain('redis://***@db')
    expect(hidden.out).not.toContain('secret')
    const s3 = 'process.checkpoints.s3={accessKeyId: ann, secretAccessKey: hush}'
    const bucket = await run('config', 'show', '--set', s3)
    expect(bucket.out).toContain('accessKeyId: ann')
    expect(bucket.out).not.toContain('hush')
  })

  test('options lists variables with units', async () => {
    expect((await run('config', 'options')).out).toMatch(
      /process\.trainer\.deltaIntervalMs = 100 ms\n {4}FRESHET_TRAINER_DELTA_INTERVAL_MS: /,
    )
  })

  test('validate says that it is valid', async () => {
    expect((await run('config', 'validate')).out).toMatch(/valid, model shop [0-9a-f]{16}/)
  })

  test('what it says is JSON too when asked for, on one line', async () => {
    expect(await asked('schema')).toHaveProperty('properties.model')
    const path = ['process', 'trainer', 'deltaIntervalMs']
    const option = expect.objectContaining({ path, default: 100, unit: 'ms' })
    expect(await asked('options')).toEqual({ options: expect.arrayContaining([option]) })
    const valid = { valid: true, model: 'shop', modelHash: expect.stringMatching(/^[0-9a-f]{16}$/) }
    expect(await asked('validate')).toMatchObject(valid)
  })
})
