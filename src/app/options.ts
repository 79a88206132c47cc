/** From the configuration to the options of each room: the only place that knows both. */
import { join } from 'node:path'

import type { ModelSpec } from '../model/spec.ts'
import type { FactsOptions } from '../stream/facts/facts.ts'
import type { TrainerModel, TrainerProcess } from '../trainer/trainer-config.ts'
import type { ModelConfig } from './config/config-model-schema.ts'
import type { Config } from './config/config-schema.ts'
import { farRowsOptions } from './config/far-rows-options.ts'
import { copiesOptions } from './config/servers-options.ts'

const hourMs = 3_600_000

export const modelSpec = ({
  engine,
  seed,
  dim,
  tables,
  towers,
  score,
  loss,
  denseOptimizer,
  schedule,
}: ModelConfig): ModelSpec => ({
  ...(engine && { engine }),
  seed,
  dim,
  tables,
  ...towers,
  score,
  loss,
  denseOptimizer,
  ...(schedule && { schedule }),
})

export function factsOptions({ facts, score, loss }: ModelConfig): FactsOptions {
  const { futureSkewMs: _, ...bounds } = facts
  return {
    ...bounds,
    activeWindowMs: loss.activeWindowMs,
    // A model without popularity still keeps the counts: the fallback for strangers needs them.
    popularityHalfLifeMs: score.popularity?.halfLifeMs ?? hourMs,
    examples: true,
  }
}

export const trainerModel = (model: ModelConfig): TrainerModel => ({
  spec: modelSpec(model),
  tables: model.tables,
  facts: factsOptions(model),
  batch: model.batch,
  evaluation: model.evaluation,
  ...(model.replay && { replay: model.replay }),
  ...(model.guard && { guard: model.guard }),
})

/** Where everything lies inside the data directory. */
export const dataPaths = (directory: string) =>
  ({
    log: join(directory, 'log'),
    journal: join(directory, 'journal'),
    checkpoints: join(directory, 'checkpoints'),
    quarantine: join(directory, 'quarantine'),
    rejects: join(directory, 'rejects'),
    index: join(directory, 'index'),
    experiment: join(directory, 'experiment'),
    imports: join(directory, 'imports'),
  }) as const

/** API keys beside those of the configuration. */
export const keysFileOf = ({ process: { dataDirectory, http } }: Config): string =>
  http.keysFile ?? join(dataDirectory, 'keys.json')

/** Values of the topic that are no events, where no topic is told for them. */
export const deadLettersFile = (directory: string): string =>
  join(dataPaths(directory).rejects, 'dead-letters.ndjson')

export function trainerProcess(config: Config): TrainerProcess {
  const { process: options } = config
  const farRows = farRowsOptions(config, true)
  const paths = dataPaths(options.dataDirectory)
  const { store: _, s3: __, ...checkpoints } = options.checkpoints
  const copies = copiesOptions(config)
  return {
    threads: options.trainer.threads,
    kernels: options.kernels,
    // Nobody waits for a process that trains and nothing else.
    niceness: options.roles.includes('serving') ? options.trainer.niceness : 0,
    deltaIntervalMs: options.trainer.deltaIntervalMs,
    deltaMaxRows: options.trainer.deltaMaxRows,
    readMaxEvents: options.trainer.readMaxEvents,
    checkpoints: { directory: paths.checkpoints, ...checkpoints },
    ...(copies && { copies }),
    journalDirectory: paths.journal,
    quarantineDirectory: paths.quarantine,
    ...(farRows && { farRows }),
  }
}
