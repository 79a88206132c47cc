/** One seeded run of the crash test: feed, kill, restart, feed on; then the verdict. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Config } from '../../src/app/config/config-schema.ts'
import { loadConfig, parseOverride } from '../../src/app/config/config.ts'
import { dataPaths } from '../../src/app/options.ts'
import { ServiceClient } from '../../src/app/service-client.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { openFileLogReader } from '../../src/stream/files/segment-reader.ts'
import { ChaosFeed } from './chaos-feed.ts'
import { ChaosService } from './chaos-service.ts'
import { judgeLog, replayedState, savedState } from './chaos-verdict.ts'

export interface RunResult {
  readonly seed: number
  readonly kills: number
  readonly events: number
  readonly lost: number
  readonly doubled: number
  readonly digestMismatches: number
  /** Tables whose rows differ from those of the run without a kill. */
  readonly rowDifferences: number
  /** Deleted items that were recommended at the end. */
  readonly ghosts: number
  /** Requests without an answer while who was asked was not being killed. */
  readonly unanswered: number
  /** What else happened than kills of the one process. */
  readonly faults?: readonly string[]
  /** What was wrong, in words. */
  readonly reasons?: readonly string[]
}

/**
 * Frequent checkpoints, so that kills meet them; all are kept, so that the journal is kept whole
 * for the run that is not killed. Small tables, so that rows are evicted.
 */
const overrides = [
  'process.checkpoints.intervalMs=300',
  'process.checkpoints.keep=1000',
  'process.logging.level=warn',
  'process.log.segmentBytes=65536',
  'process.jobs.restrictMs=400',
  'model.tables.user.restrict.numReserved=30',
  'model.tables.user.restrict.trigger=40',
  'model.tables.words.restrict.numReserved=300',
  'model.tables.words.restrict.trigger=400',
]

export const chaosConfig = (): Config =>
  loadConfig({ environment: {}, overrides: overrides.map(parseOverride) }).config

const flags = overrides.flatMap((override) => ['--set', override])
const settleLimitMs = 60_000

export interface RunOptions {
  readonly kills: number
  readonly onLog: (line: string) => void
  /** Leaves the data directory of a failed run for a look at it. */
  readonly keepFailed: boolean
}

export async function chaosRun(seed: number, options: RunOptions): Promise<RunResult> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'freshet-chaos-'))
  try {
    const result = await runIn(dataDirectory, seed, options)
    if (faultsOf(result) > 0 && options.keepFailed) {
      options.onLog(`seed ${seed}: kept in ${dataDirectory}`)
      return result
    }
    rmSync(dataDirectory, { recursive: true, force: true })
    return result
  } catch (error) {
    if (!options.keepFailed) rmSync(dataDirectory, { recursive: true, force: true })
    throw error
  }
}

/**
 * A request of one process without an answer is no fault: it is sent again. Of several another one
 * has to answer, and whatever is said in words is a fault.
 */
export const faultsOf = (result: RunResult): number =>
  result.lost +
  result.doubled +
  result.digestMismatches +
  result.rowDifferences +
  result.ghosts +
  (result.reasons?.length ?? 0)

async function runIn(
  dataDirectory: string,
  seed: number,
  { kills, onLog }: RunOptions,
): Promise<RunResult> {
  const random = seededRandom(seed, 0xdead)
  const feed = new ChaosFeed(seed)
  const start = () => new ChaosService({ dataDirectory, flags, onLog })
  // A checkpoint of nothing: the oldest that is kept, so the journal is kept from its first entry.
  const first = start()
  await first.address()
  await first.end('SIGTERM')
  let unanswered = 0
  for (let kill = 0; kill < kills; kill += 1) {
    const service = start()
    // One kill in four comes before the service listens.
    const lifeMs = random.next() < 0.25 ? 100 + random.integer(900) : undefined
    unanswered += await feedUntilKilled(service, feed, { random, lifeMs })
  }
  const service = start()
  const recommended = await feedToTheEnd(service, feed)
  const code = await service.end('SIGTERM')
  if (code !== 0) throw new Error(`the service ended with code ${code} when asked to stop`)
  const config = chaosConfig()
  const reader = await openFileLogReader({ directory: dataPaths(dataDirectory).log })
  const verdict = await judgeLog(reader, feed.acknowledged, config)
  const { lost, doubled, events } = verdict
  const [saved, replayed] = [
    await savedState(dataDirectory, config),
    await replayedState(reader, dataDirectory, config),
  ]
  await reader.close()
  const differs = saved.tables.filter(({ digest }, i) => digest !== replayed.tables[i]?.digest)
  return {
    seed,
    kills,
    events,
    lost,
    doubled,
    digestMismatches: saved.digest === replayed.digest && saved.events === events ? 0 : 1,
    rowDifferences: differs.length,
    ghosts: [...recommended].filter((itemId) => !verdict.isKnown(itemId)).length,
    unanswered,
  }
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Feeds until the kill; returns how many requests failed although it was alive. */
async function feedUntilKilled(
  service: ChaosService,
  feed: ChaosFeed,
  { random, lifeMs }: { random: Random; lifeMs: number | undefined },
): Promise<number> {
  if (lifeMs !== undefined) {
    await wait(lifeMs)
    await service.end('SIGKILL')
    return 0
  }
  const address = await service.address()
  if (address === undefined) throw new Error('the service ended before it listened')
  const killed = new AbortController()
  const feeding = [1, 2].map(() => feedLoop(new ServiceClient(address), feed, killed.signal))
  await wait(200 + random.integer(1_800))
  killed.abort()
  await service.end('SIGKILL')
  const failures = await Promise.all(feeding)
  return failures.reduce((sum, count) => sum + count, 0)
}

/** One request after the other; those that the kill cuts off are to be sent again. */
async function feedLoop(
  client: ServiceClient,
  feed: ChaosFeed,
  killed: AbortSignal,
): Promise<number> {
  let failures = 0
  while (!killed.aborted) {
    const batch = feed.next()
    try {
      const { rejected } = await client.sendEvents(batch)
      if (rejected.length > 0) throw new Error(`rejected: ${JSON.stringify(rejected[0])}`)
      feed.answered(batch)
    } catch (error) {
      feed.unanswered(batch)
      if (String(error).includes('rejected')) throw error
      if (!killed.aborted && !isRefusal(error)) failures += 1
    }
  }
  return failures
}

/** The service said no, and that the same may be tried again: nothing was appended. */
const isRefusal = (error: unknown): boolean => String(error).includes(' 503 ')

/** The last life: everything in doubt again, some more, then all learned; what is recommended. */
async function feedToTheEnd(service: ChaosService, feed: ChaosFeed): Promise<ReadonlySet<string>> {
  const address = await service.address()
  if (address === undefined) throw new Error('the service did not start again')
  const client = new ServiceClient(address)
  for (let request = 0; request < 40 || feed.inDoubt > 0; request += 1) {
    const batch = feed.next()
    try {
      await client.sendEvents(batch)
      feed.answered(batch)
    } catch (error) {
      if (!isRefusal(error)) throw error
      feed.unanswered(batch)
      await wait(50)
    }
  }
  await settled(client)
  const recommended = new Set<string>()
  for (let user = 1; user <= 60; user += 1) {
    const { items } = await client.recommend(`user-${user}`, { n: 100 })
    for (const { id } of items) recommended.add(id)
  }
  return recommended
}

async function settled(client: ServiceClient): Promise<void> {
  const giveUpAt = performance.now() + settleLimitMs
  for (;;) {
    const metrics = await client.metrics()
    const lag = metrics.sum('freshet_trainer_lag_events') + metrics.sum('freshet_facts_lag_events')
    if (lag === 0 && (await client.isReady())) return
    if (performance.now() > giveUpAt) throw new Error(`still ${lag} events behind`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
