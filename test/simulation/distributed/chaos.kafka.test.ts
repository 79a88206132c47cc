import { expect, test } from 'vitest'

import { faultsOf } from '../chaos-run.ts'
import { distributedRun } from './chaos-distributed.ts'
import { ChaosServers } from './chaos-servers.ts'

/** One run of what `npm run -s chaos -- --shape distributed` repeats with many seeds. */
test('processes and servers that are killed or stopped lose nothing, and others answer', async () => {
  await using servers = await ChaosServers.start()
  const log: string[] = []
  const onLog = (line: string): void => void log.push(line)
  const faults = ['pauseBroker', 'killTrainer', 'killRedis', 'killReplica'] as const
  const result = await distributedRun(18, { servers, faults, onLog })
  const said = log.slice(-40)
  expect({ ...result, said }).toMatchObject({ lost: 0, doubled: 0, unanswered: 0, reasons: [] })
  expect(faultsOf(result)).toBe(0)
  expect(result.kills).toBe(3)
  expect(result.events).toBeGreaterThan(200)
  expect(result.answered).toBeGreaterThan(50)
}, 240_000)
