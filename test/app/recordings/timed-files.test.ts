import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { timedFiles } from '../../../src/app/recordings/timed-files.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { FileLog } from '../../../src/stream/files/file-log.ts'
import { nodeLogFiles } from '../../../src/stream/files/log-files.ts'

test('every sync of the log is timed, and the log works as without', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'freshet-timed-'))
  const times: number[] = []
  const files = timedFiles(nodeLogFiles, systemClock, (ms) => void times.push(ms))
  const log = await FileLog.open({ directory, fsync: 'always', segmentBytes: 4_096, files })
  const event = {
    kind: 'deleteItem',
    itemId: 'x'.repeat(200),
    timestamp: 1,
    acceptedAt: 1,
  } as const
  for (let i = 0; i < 40; i += 1) await log.append([event])
  await log.truncateBefore('20')
  await log.close()
  expect(times.length).toBeGreaterThanOrEqual(40)
  expect(times.every((ms) => ms >= 0)).toBe(true)
  await rm(directory, { recursive: true })
})
