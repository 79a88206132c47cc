/** Keys made by `freshet keys` and taken up by a server that runs; HTTPS with files that change. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { ManualClock, systemClock } from '../../../src/base/clock.ts'
import { Gate } from '../../../src/serving/http/gate.ts'
import { KeyFile, readKeys } from '../../../src/serving/http/key-file.ts'
import { LoadGuard } from '../../../src/serving/http/load-guard.ts'
import { HttpServer } from '../../../src/serving/http/server.ts'
import { defaultHttpSettings, type Scope } from '../../../src/serving/http/settings.ts'
import { run } from '../../support/cli.ts'
import { memoryDependencies, noon } from '../../support/http-service.ts'
import { makeCertificate } from '../../support/redis-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const signal = new AbortController().signal
const quiet = { info: () => {}, error: () => {} }

/** A gate of a file's keys, and whether it lets a key through to a route of a scope. */
function gateOf(file: string) {
  const clock = new ManualClock(noon)
  const keys = new KeyFile({ file, logger: quiet })
  const load = new LoadGuard(defaultHttpSettings, clock)
  const gate = new Gate(defaultHttpSettings, { load, clock, keys })
  const ask = (key: string | undefined, scope: Scope): string => {
    const headers = { host: 'localhost', ...(key !== undefined && { 'x-api-key': key }) }
    try {
      gate.admit({ headers, bytes: 0 }, { scope, urgent: true })
      return 'in'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  return { keys, clock, gate, ask }
}

test('keys are made, listed, expire, and are revoked while the server runs', async () => {
  using folder = temporaryDirectory()
  const data = ['--data', folder.path]
  const file = join(folder.path, 'keys.json')
  const { keys, clock, gate, ask } = gateOf(file)
  expect([gate.open, ask(undefined, 'write')]).toEqual([true, 'in'])

  const made = await run('keys', 'create', 'shop', '--scope', 'read,write', ...data, '--json')
  const { key } = made.json as { key: string }
  expect(key).toMatch(/^fsh_[\w-]{43}$/)
  expect(readFileSync(file, 'utf8')).not.toContain(key)
  expect(statSync(file).mode & 0o077).toBe(0)
  keys.refresh()
  expect(ask(undefined, 'read')).toBe('KEY_REQUIRED')
  const scopes = ['read', 'write', 'admin'] as const
  expect(scopes.map((scope) => ask(key, scope))).toEqual(['in', 'in', 'SCOPE_MISSING'])
  expect(ask(`${key}x`, 'read')).toBe('KEY_INVALID')

  const brief = await run('keys', 'create', 'brief', '--expires', '2100-01-01', ...data)
  keys.refresh()
  expect(ask(brief.text, 'read')).toBe('in')
  clock.advance(Date.UTC(2100, 0, 1) - noon)
  expect(ask(brief.text, 'read')).toBe('KEY_INVALID')

  const listed = await run('keys', 'list', ...data)
  expect(listed.text).toMatch(/shop +read,write +made .*\nbrief +read +made .*, ends 2100-01-01/)
  for (const name of ['shop', 'brief']) await run('keys', 'revoke', name, ...data)
  keys.refresh()
  expect([readKeys(file), gate.open, ask(key, 'read')]).toEqual([[], false, 'KEY_INVALID'])
})

test('a rate of a key holds, and says when to come again', async () => {
  using folder = temporaryDirectory()
  const rate = ['--rate', '0.5', '--burst', '2']
  const made = await run('keys', 'create', 'slow', ...rate, '--data', folder.path)
  const { ask, clock } = gateOf(join(folder.path, 'keys.json'))
  const three = () => [1, 2, 3].map(() => ask(made.text, 'read'))
  expect(three()).toEqual(['in', 'in', 'RATE_LIMITED'])
  clock.advance(2_000)
  expect(three()).toEqual(['in', 'RATE_LIMITED', 'RATE_LIMITED'])
})

test.each([
  [['create', 'a b'], 'expected 1 to 64 letters'],
  [['create', 'shop'], 'there is a key shop already'],
  [['create', 'new', '--scope', 'raed'], 'did you mean "read"?'],
  [['create', 'new', '--expires', 'yesterday'], 'expected 30m, 12h, 90d'],
  [['revoke', 'shpo'], 'did you mean "shop"?'],
])('keys %j is refused with what to do', async (args, reason) => {
  using folder = temporaryDirectory()
  const data = ['--data', folder.path]
  await run('keys', 'create', 'shop', ...data)
  const { code, err } = await run('keys', ...args, ...data)
  expect([code, err.join()]).toEqual([2, expect.stringContaining(reason)])
})

test('where no keys were ever made there is none to revoke, and nothing is written', async () => {
  using folder = temporaryDirectory()
  const absent = join(folder.path, 'absent')
  const { code, err } = await run('keys', 'revoke', 'shop', '--data', absent)
  expect([code, err.join()]).toEqual([2, expect.stringContaining('no key shop; there are: none')])
  expect(existsSync(absent)).toBe(false)
})

test('a file that is broken keeps the keys of before, and lets no server start', async () => {
  using folder = temporaryDirectory()
  const file = join(folder.path, 'keys.json')
  const made = await run('keys', 'create', 'shop', '--data', folder.path)
  const { keys, ask } = gateOf(file)
  writeFileSync(file, '{"keys": [{"name": "shop"}]}')
  keys.refresh()
  expect(ask(made.text, 'read')).toBe('in')
  expect(() => new KeyFile({ file, logger: quiet })).toThrow(
    expect.objectContaining({ code: 'KEYS_UNREADABLE' }),
  )
})

/** The status of a request over TLS that trusts one certificate. */
const statusOver = (address: string, ca: string): Promise<number | string> =>
  new Promise((resolve) => {
    const asked = request(`${address}/health/live`, { ca: readFileSync(ca), agent: false })
    asked.on('response', (answer) => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    asked.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'failed'))
    asked.end()
  })

test('HTTPS, and HTTP there is none', async () => {
  using folder = temporaryDirectory()
  const { cert: certFile, key: keyFile } = makeCertificate(folder.path)
  const parts = memoryDependencies(systemClock)
  const server = new HttpServer({ port: 0, tls: { certFile, keyFile } }, parts.dependencies)
  await server.start(signal)
  expect(server.address).toMatch(/^https:/)
  expect(await statusOver(server.address, certFile)).toBe(200)
  await expect(fetch(server.address.replace('https', 'http'))).rejects.toThrow('fetch failed')
  await server.drain()
  await server.stop()
  writeFileSync(keyFile, 'no key')
  const broken = new HttpServer({ port: 0, tls: { certFile, keyFile } }, parts.dependencies)
  await expect(broken.start(signal)).rejects.toMatchObject({ code: 'HTTP_TLS_INVALID' })
  await broken.stop()
})
