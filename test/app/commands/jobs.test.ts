import { expect, test } from 'vitest'

import { run } from '../../support/cli.ts'
import { Directory, smallConfig, startSmall } from '../small-service.ts'

test('jobs are run, listed and shown on a running service', { timeout: 60_000 }, async () => {
  using directory = new Directory()
  const { service } = await startSmall(smallConfig(directory.path))
  const at = ['--address', service.address]
  try {
    const done = await run('jobs', 'run', 'checkpoint', '--once', 'monday', ...at, '--json')
    expect(done.json).toMatchObject({ name: 'checkpoint', state: 'done', progress: 1 })
    const again = await run('jobs', 'run', 'checkpoint', '--once', 'monday', ...at, '--json')
    expect(again.json).toEqual(done.json)
    const payload = ['table=item', 'numReserved=10', 'dryRun=true']
    const dry = await run('jobs', 'run', 'restrict', ...payload, ...at, '--json')
    expect(dry.json).toMatchObject({
      payload: { table: 'item', numReserved: 10, dryRun: true },
      result: { dryRun: true },
    })
    const begun = await run('jobs', 'run', 'auditRecall', '--no-wait', ...at, '--json')
    expect(begun.json).toMatchObject({ name: 'auditRecall' })
    const listed = await run('jobs', 'list', ...at)
    expect(listed.text).toMatch(/^jobs: restrict, checkpoint, /)
    expect(listed.text).toMatch(/ checkpoint +done +100 % +\d+ ms +checkpoint-monday/)
    const newest = await run('jobs', 'list', '--limit', '1', ...at, '--json')
    expect(newest.json).toMatchObject({ runs: [{ name: 'auditRecall' }] })
    const shown = await run('jobs', 'show', 'checkpoint-monday', ...at)
    expect(shown.text).toMatch(/state +done/)
  } finally {
    await service.stop()
  }
})

test('a run that fails, and what cannot be run, say why', { timeout: 60_000 }, async () => {
  using directory = new Directory()
  const { service } = await startSmall(smallConfig(directory.path))
  const at = ['--address', service.address]
  try {
    const failed = await run('jobs', 'run', 'restrict', 'table=item', ...at)
    expect([failed.code, failed.err.join()]).toEqual([1, expect.stringContaining('JOB_FAILED')])
    const unknown = await run('jobs', 'run', 'nothing', ...at)
    expect(unknown.err.join()).toContain('JOB_UNKNOWN')
    const odd = await run('jobs', 'run', 'restrict', 'table', ...at)
    expect(odd.err.join()).toContain('expected name=value')
    const gone = await run('jobs', 'show', 'restrict-7', ...at)
    expect(gone.err.join()).toContain('JOB_RUN_UNKNOWN')
  } finally {
    await service.stop()
  }
})
