import { expect, test } from 'vitest'

import { chaosRun, faultsOf } from './chaos-run.ts'

/** One run of what `npm run -s chaos` repeats with many seeds. */
test('a killed service loses nothing and counts nothing twice', { timeout: 120_000 }, async () => {
  const log: string[] = []
  const onLog = (line: string): void => void log.push(line)
  const result = await chaosRun(7, { kills: 1, onLog, keepFailed: false })
  expect({ ...result, log }).toMatchObject({ kills: 1, lost: 0, doubled: 0 })
  expect(faultsOf(result)).toBe(0)
  expect(result.events).toBeGreaterThan(500)
})
