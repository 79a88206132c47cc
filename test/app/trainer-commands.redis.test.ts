import { expect, test } from 'vitest'

import { askTrainerCommands, serveTrainerCommands } from '../../src/app/trainer-commands.ts'
import { systemClock } from '../../src/base/clock.ts'
import { ServiceError } from '../../src/base/errors.ts'
import type { TrainerCommands } from '../../src/jobs/jobs.ts'
import { anyServer } from '../support/redis-server.ts'

test('a jobs process asks the trainer process for what it would ask its own trainer', async () => {
  await using server = await anyServer()
  const asked: unknown[] = []
  const commands: TrainerCommands = {
    tables: ['items'],
    restrict: (request) => {
      asked.push(request)
      if (request.trigger === 0) {
        return Promise.reject(
          new ServiceError('RESTRICT_INVALID', { argument: 'trigger', value: 0 }),
        )
      }
      return Promise.resolve({ dryRun: false, removed: 3, rows: 7, tables: [{ table: 'items' }] })
    },
    checkpoint: () => Promise.resolve({ name: '42', modelVersion: 42, bytes: 1_000 }),
    compact: () => Promise.resolve({ steps: 1, rows: 7, bytes: 4_096 }),
    rollBack: (to) => Promise.resolve({ to: String(to) }),
  }
  const channel = { redis: server.settings, tag: `bridge-${process.pid}`, owner: 'trainer' }
  const owner = serveTrainerCommands({ channel, commands })
  await owner.start()
  const remote = askTrainerCommands(channel, { tables: ['items', 'users'], clock: systemClock })
  const { signal } = new AbortController()
  const context = (run: string) => ({ run, signal, progress: () => undefined })
  try {
    expect(await remote.restrict({ table: 'items' }, context('r1'))).toEqual({
      dryRun: false,
      removed: 3,
      rows: 7,
      tables: [{ table: 'items' }],
    })
    await remote.restrict({ table: 'items' }, context('r1'))
    expect(asked).toEqual([{ table: 'items' }])
    expect(await remote.checkpoint(context('c1'))).toMatchObject({ name: '42' })
    expect(await remote.compact(context('k1'))).toMatchObject({ steps: 1 })
    expect(await remote.rollBack(42, context('b1'))).toEqual({ to: '42' })
    await expect(remote.restrict({ trigger: 0 }, context('r2'))).rejects.toMatchObject({
      code: 'RESTRICT_INVALID',
      details: { argument: 'trigger' },
    })
    // What the owner's model has not is refused there.
    await expect(remote.restrict({ table: 'users' }, context('r3'))).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
    })
  } finally {
    remote.close()
    await owner.drain()
    await owner.stop()
  }
})
