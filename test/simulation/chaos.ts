/**
 * The crash test as a program: `npm run -s chaos -- --shape embedded --runs 20 --seed 1`. Prints one JSON
 * object as its last line; exits 1 if anything was lost, doubled or different.
 */
import { Command } from 'commander'

import { oneOf, wholeNumber } from '../../src/app/flags.ts'
import { machine, sourceCommit } from '../../src/app/machine.ts'
import { chaosConfig, chaosRun, faultsOf, type RunResult } from './chaos-run.ts'

interface Flags {
  readonly runs: number
  readonly seed: number
  readonly kills: number
  readonly verbose?: true
  readonly keep?: true
}

const flags = new Command('chaos')
  .option('--shape <name>', 'which deployment', oneOf('embedded'), 'embedded')
  .option('--runs <number>', 'runs, each with a seed of its own', wholeNumber(1, 100_000), 5)
  .option('--seed <number>', 'of the first run', wholeNumber(0), 1)
  .option('--kills <number>', 'kills in each run', wholeNumber(0, 1_000), 3)
  .option('--verbose', 'show the log of the service')
  .option('--keep', 'keep the data directories of failed runs')
  .option('--json', 'accepted for symmetry: the output is JSON anyway')
  .parse()
  .opts<Flags>()

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const results: RunResult[] = []
const failed: { seed: number; reason: string }[] = []
for (let seed = flags.seed; seed < flags.seed + flags.runs; seed += 1) {
  try {
    const onLog = flags.verbose ? say : () => undefined
    const result = await chaosRun(seed, {
      kills: flags.kills,
      onLog,
      keepFailed: flags.keep === true,
    })
    results.push(result)
    if (faultsOf(result) > 0) failed.push({ seed, reason: JSON.stringify(result) })
    say(`seed ${seed}: ${JSON.stringify(result)}`)
  } catch (error) {
    failed.push({ seed, reason: String(error) })
    say(`seed ${seed}: ${error instanceof Error ? (error.stack ?? '') : String(error)}`)
  }
}

const total = (name: keyof RunResult): number =>
  results.reduce((sum, result) => sum + result[name], 0)

process.stdout.write(
  `${JSON.stringify({
    shape: 'embedded',
    runs: flags.runs,
    kills: total('kills'),
    events: total('events'),
    lost: total('lost'),
    doubled: total('doubled'),
    digestMismatches: total('digestMismatches'),
    rowDifferences: total('rowDifferences'),
    ghosts: total('ghosts'),
    unanswered: total('unanswered'),
    failed,
    machine: machine(),
    commit: sourceCommit(),
    config: { file: 'shop.yaml', model: chaosConfig().model.name },
  })}\n`,
)
process.exitCode = failed.length > 0 ? 1 : 0
