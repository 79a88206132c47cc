/**
 * `freshet evaluate`: offline protocols, the whole catalogue ranked for every held-out
 * interaction.
 */
import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import {
  type ConfigFlags,
  configOf,
  printReport,
  report,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import { evaluate, type EvaluateOptions } from '../evaluation/evaluate.ts'
import { readInteractions, type ReadResult } from '../evaluation/read-interactions.ts'
import { parseSplit } from '../evaluation/split.ts'
import { wholeNumber } from '../flags.ts'
import { peakRssBytes } from '../machine.ts'
import {
  type RecordingFlags,
  recordingOptions,
  withRecording,
} from '../recordings/recording-flags.ts'

interface EvaluateFlags extends ConfigFlags, RecordingFlags {
  readonly json?: true
  readonly data?: string
  readonly split?: string
  readonly train?: string
  readonly test?: string
  readonly maskTrain?: true
  readonly epochs?: number
  readonly titles?: string
  readonly negatives?: string
}

const splitHelp =
  'random:TRAIN/TEST:SEED, temporal:SHARE, leave-one-out, leave-one-out:DROPPED (newest), ' +
  'or given: what --negatives names'

export function addEvaluate(program: Command, terminal: Terminal): void {
  const command = program
    .command('evaluate')
    .description('train on one part of a file and ask for the other')
    .option('--data <file>', 'interactions, split by --split')
    .option('--split <protocol>', splitHelp)
    .option('--train <file>', 'interactions to train on, instead of --data')
    .option('--test <file>', 'interactions to ask for')
    .option('--mask-train', 'leave what a user was trained on out of the ranking')
    .option('--epochs <number>', 'passes (default: model.offline.epochs)', wholeNumber(1, 1_000))
    .option('--titles <file>', 'titles of items: id|title or id::title::genres')
    .option('--negatives <file>', 'rank against these alone: (user,item)<tab>negative...')
    .option('-t, --threads <number>', 'threads', wholeNumber(1, 64))
  withRecording(withJson(withConfig(command))).action(async (flags: EvaluateFlags) => {
    // `--data` is a file here, not the directory of the service.
    const { data: _, ...configFlags } = flags
    const loaded = configOf(configFlags, 'movielens')
    const { data, rejected } = await readData(flags)
    const { model, process } = loaded.config
    const result = await evaluate({
      config: loaded.config,
      data,
      maskTrain: flags.maskTrain === true,
      epochs: flags.epochs ?? model.offline.epochs,
      titles: flags.titles,
      negatives: flags.negatives,
      threads: process.trainer.threads,
      clock: systemClock,
      progress: terminal.progress,
    })
    const shown = {
      ...result,
      counts: { ...result.counts },
      rejected,
      peakRssBytes: peakRssBytes(),
    }
    printReport(terminal, report(shown, loaded), flags.json === true)
  })
}

interface Data {
  readonly data: EvaluateOptions['data']
  readonly rejected: ReadResult['rejected']
}

async function readData(flags: EvaluateFlags): Promise<Data> {
  const { data, split, train, test } = flags
  if (data !== undefined && split !== undefined && train === undefined && test === undefined) {
    const spec = parseSplit(split)
    const { interactions, rejected } = await read(data, flags)
    return { data: { all: interactions, split: spec }, rejected }
  }
  if (train !== undefined && test !== undefined && data === undefined && split === undefined) {
    const [trained, asked] = [await read(train, flags), await read(test, flags)]
    const parts = { train: trained.interactions, test: asked.interactions }
    return { data: parts, rejected: { ...trained.rejected, ...asked.rejected } }
  }
  const reason = 'expected --data FILE --split PROTOCOL, or --train FILE --test FILE'
  throw new ServiceError('USAGE_INVALID', { what: 'freshet evaluate', reason })
}

const read = (file: string, flags: RecordingFlags): Promise<ReadResult> =>
  readInteractions({ files: [file], ...recordingOptions(flags) })
