import { afterEach, expect, test, vi } from 'vitest'

import { run } from '../../support/cli.ts'
import { RedisServer } from '../../support/redis-server.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

const bench = (backend: string, rows: number, ...flags: readonly string[]) => {
  const size = ['--rows', String(rows), '--dim', '8', '--repeats', '1']
  return run('bench', 'table', '--backend', backend, ...size, '--json', ...flags)
}

test('rows in a server of which the address is given are measured, and are gone then', async () => {
  await using server = await RedisServer.start()
  const redis = ['--redis', `redis://127.0.0.1:${server.port}/0`]
  const rate = {
    rowsPerSecond: expect.any(Number) as number,
    clientUs: expect.any(Number) as number,
    serverUs: expect.any(Number) as number,
  }
  const verb = { ...rate, ratioToReference: expect.any(Number) as number }
  const measured = await bench('redis', 3_000, ...redis)
  expect(measured.json).toMatchObject({
    reads: rate,
    writes: rate,
    find: verb,
    applyGradients: verb,
    restrict: { removed: 600 },
  })
  const tiered = await bench('tiered', 90_000, ...redis)
  expect(tiered.code).toBe(0)
  expect(tiered.json).toMatchObject({ digests: 'equal', steps: { relative: expect.any(Number) } })
  expect(await server.command('KEYS', 'freshet:bench*:rows')).toEqual([])
}, 60_000)

test('without an address and without a server it is said what to do', async () => {
  vi.stubEnv('PATH', '')
  const { code, err } = await bench('redis', 3_000)
  expect([code, err.at(-1)]).toEqual([2, expect.stringContaining('--redis redis://host:port')])
  const wrong = await bench('redis', 3_000, '--redis', 'localhost')
  expect([wrong.code, wrong.err.join()]).toEqual([2, expect.stringContaining('redis://host:port')])
})
