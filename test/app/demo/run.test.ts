import { expect, test } from 'vitest'

import { runDemo } from '../../../src/app/demo/run.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { Directory, smallConfig, startSmall } from '../small-service.ts'

test('the demo fills the shop and tells how a list changes', { timeout: 60_000 }, async () => {
  using directory = new Directory()
  const config = smallConfig(directory.path, 'model.evaluation.everyNth=4')
  const { client, service } = await startSmall(config)
  const printed: string[] = []
  const terminal = {
    print: (line: string) => void printed.push(line),
    progress: (line: string) => void printed.push(`progress: ${line}`),
    interactive: false,
    exit: () => undefined,
  }
  const stop = new AbortController()
  const options = {
    address: service.address,
    seed: 1,
    users: 50,
    items: 300,
    rate: 200,
    seconds: 1.2,
    figuresMs: 300,
    storyMs: 500,
    clock: systemClock,
    terminal,
  }
  await runDemo(options, stop.signal)
  const text = printed.join('\n')
  expect(text).toContain('300 items are on the shelves')
  expect(text).toMatch(/\n +\ds +\d+ +\d+ +\d+\/\d+/)
  expect(text).toMatch(/Ada clicks ".+"; [\d.]+ ms later her list has changed/)
  expect(text).not.toContain('progress:')
  const metrics = await client.metrics()
  expect(metrics.sum('freshet_ingest_accepted_events_total')).toBeGreaterThan(400)

  // A stop in the middle ends it at once, without complaint.
  setTimeout(() => stop.abort(), 100)
  await runDemo({ ...options, seconds: Infinity }, stop.signal).catch(() => undefined)
  await service.stop()
})
