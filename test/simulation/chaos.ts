/**
 * The crash test as a program: `npm run -s chaos -- --shape distributed --runs 20`. Prints one JSON
 * object as its last line; exits 1 if anything was lost, doubled, different or unanswered.
 */
import { Command } from 'commander'

import { oneOf, wholeNumber } from '../../src/app/flags.ts'
import { machine, sourceCommit } from '../../src/app/machine.ts'
import { chaosConfig, chaosRun, faultsOf, type RunResult } from './chaos-run.ts'
import { distributedRun } from './distributed/chaos-distributed.ts'
import { drawFaults } from './distributed/chaos-faults.ts'
import { ChaosServers } from './distributed/chaos-servers.ts'

interface Flags {
  readonly shape: 'embedded' | 'distributed'
  readonly runs: number
  readonly seed: number
  readonly kills: number
  readonly faults: number
  readonly checkpoints: 'folder' | 's3'
  readonly verbose?: true
  readonly keep?: true
}

const flags = new Command('chaos')
  .option('--shape <name>', 'which deployment', oneOf('embedded', 'distributed'), 'embedded')
  .option('--runs <number>', 'runs, each with a seed of its own', wholeNumber(1, 100_000), 5)
  .option('--seed <number>', 'of the first run', wholeNumber(0), 1)
  .option('--kills <number>', 'embedded: kills in each run', wholeNumber(0, 1_000), 3)
  .option('--faults <number>', 'distributed: faults in each run', wholeNumber(0, 13), 4)
  .option('--checkpoints <place>', 'distributed: where', oneOf('folder', 's3'), 'folder')
  .option('--verbose', 'show the log of the service')
  .option('--keep', 'embedded: keep the data directories of failed runs')
  .option('--json', 'accepted for symmetry: the output is JSON anyway')
  .parse()
  .opts<Flags>()

const say = (line: string): void => void process.stderr.write(`${line}\n`)
const onLog = flags.verbose ? say : () => undefined

// What runs beside this process ends with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

await using servers =
  flags.shape === 'distributed' ? await ChaosServers.start(flags.checkpoints) : undefined

async function run(seed: number): Promise<RunResult> {
  const { kills, faults, keep } = flags
  if (servers !== undefined) {
    const drawn = drawFaults(seed, faults, servers.store !== undefined)
    return await distributedRun(seed, { servers, faults: drawn, onLog })
  }
  return await chaosRun(seed, { kills, onLog, keepFailed: keep === true })
}

const results: RunResult[] = []
const failed: { seed: number; reason: string }[] = []
for (let seed = flags.seed; seed < flags.seed + flags.runs; seed += 1) {
  const from = performance.now()
  try {
    const result = await run(seed)
    results.push(result)
    if (faultsOf(result) > 0) failed.push({ seed, reason: JSON.stringify(result) })
    const seconds = Math.round((performance.now() - from) / 1_000)
    say(`seed ${seed}, ${seconds} s: ${JSON.stringify(result)}`)
  } catch (error) {
    failed.push({ seed, reason: String(error) })
    say(`seed ${seed}: ${error instanceof Error ? (error.stack ?? '') : String(error)}`)
  }
}

const total = (name: keyof Omit<RunResult, 'faults' | 'reasons'>): number =>
  results.reduce((sum, result) => sum + result[name], 0)

/** How often each fault struck. */
function strikes(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of results.flatMap(({ faults = [] }) => faults)) {
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

process.stdout.write(
  `${JSON.stringify({
    shape: flags.shape,
    runs: flags.runs,
    ...(servers && { checkpoints: flags.checkpoints }),
    kills: total('kills'),
    events: total('events'),
    lost: total('lost'),
    doubled: total('doubled'),
    digestMismatches: total('digestMismatches'),
    rowDifferences: total('rowDifferences'),
    ghosts: total('ghosts'),
    unanswered: total('unanswered'),
    ...(servers && { strikes: strikes() }),
    failed,
    machine: machine(),
    commit: sourceCommit(),
    config: { file: 'shop.yaml', model: chaosConfig().model.name },
  })}\n`,
)
process.exitCode = failed.length > 0 ? 1 : 0
