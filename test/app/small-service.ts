/** The service in this process, on a directory of its own, small enough to start in a moment. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { startFreshet } from '../../src/app/compose.ts'
import type { Config } from '../../src/app/config/config-schema.ts'
import { loadConfig, parseOverride } from '../../src/app/config/config.ts'
import { ServiceClient } from '../../src/app/service-client.ts'
import { createLogger } from '../../src/app/telemetry.ts'
import { systemClock } from '../../src/base/clock.ts'

/**
 * Values of `--set` that make the shop small enough to start in a moment. On a busy machine its
 * event loop may be late: a test is not to be refused for that.
 */
export const smallShop: readonly string[] = [
  'process.http.maxEventLoopDelayMs=60000',
  'model.facts.maxItems=4096',
  'model.facts.maxUsers=4096',
  'model.facts.maxHistoryEntries=100000',
  'process.jobs.auditRecallMs=0',
  ...['had', 'item', 'words', 'user'].flatMap((name) => [
    `model.tables.${name}.capacityRows=4096`,
    `model.tables.${name}.restrict=null`,
  ]),
]

export const smallConfig = (dataDirectory: string, ...more: readonly string[]): Config =>
  loadConfig({
    environment: {},
    overrides: [
      `process.dataDirectory=${dataDirectory}`,
      'process.http.port=0',
      ...smallShop,
      ...more,
    ].map(parseOverride),
  }).config

export class Directory {
  readonly path: string

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), 'freshet-test-'))
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

export async function startSmall(config: Config, log: string[] = []) {
  const logger = createLogger({ level: 'info', redactIds: false }, (line) => void log.push(line))
  const { signal } = new AbortController()
  const service = await startFreshet(config, { clock: systemClock, logger, signal })
  const client = new ServiceClient(service.address)
  return {
    service,
    client,
    /** Resolves when everything sent has been folded, learned and indexed. */
    settled: async (examples = 0): Promise<void> => {
      for (let i = 0; i < 400; i += 1) {
        const metrics = await client.metrics()
        const lag = metrics.sum('freshet_trainer_lag_events')
        const queued = metrics.sum('freshet_facts_lag_events')
        const learned = metrics.sum('freshet_trainer_examples_total') >= examples
        if (lag + queued === 0 && learned && (await client.isReady())) return
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
      throw new Error('not settled within 10 s')
    },
  }
}
