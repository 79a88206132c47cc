/** From the configuration to the options of each room: the only place that knows both. */
import { join } from 'node:path'

import type { ModelSpec } from '../model/spec.ts'
import type { EventLogReader, Position } from '../stream/event-log.ts'
import type { FactsOptions } from '../stream/facts/facts.ts'
import { type CheckpointHeader, CheckpointStore } from '../trainer/checkpoint/checkpoint.ts'
import type { TrainerModel, TrainerProcess } from '../trainer/trainer-config.ts'
import type { ModelConfig } from './config/config-model-schema.ts'
import type { Config } from './config/config-schema.ts'
import { farRowsOptions } from './config/far-rows-options.ts'

const hourMs = 3_600_000

export const modelSpec = ({
  seed,
  dim,
  tables,
  towers,
  score,
  loss,
  denseOptimizer,
}: ModelConfig): ModelSpec => ({ seed, dim, tables, ...towers, score, loss, denseOptimizer })

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
})

/** Where everything lies inside the data directory. */
export const dataPaths = (directory: string) =>
  ({
    log: join(directory, 'log'),
    journal: join(directory, 'journal'),
    checkpoints: join(directory, 'checkpoints'),
    quarantine: join(directory, 'quarantine'),
    rejects: join(directory, 'rejects'),
  }) as const

export function trainerProcess(config: Config): TrainerProcess {
  const { process: options } = config
  const farRows = farRowsOptions(config, true)
  const paths = dataPaths(options.dataDirectory)
  return {
    threads: options.trainer.threads,
    kernels: options.kernels,
    niceness: options.trainer.niceness,
    deltaIntervalMs: options.trainer.deltaIntervalMs,
    readMaxEvents: options.trainer.readMaxEvents,
    checkpoints: { directory: paths.checkpoints, ...options.checkpoints },
    journalDirectory: paths.journal,
    quarantineDirectory: paths.quarantine,
    ...(farRows && { farRows }),
  }
}

/**
 * Facts of the newest checkpoint that the log still reaches, and where they stand: where a reader
 * begins. Undefined: there is none, and it folds the log from its start.
 */
export async function checkpointFacts(
  directory: string,
  log: EventLogReader,
): Promise<{ readonly facts: Uint8Array; readonly position: Position } | undefined> {
  const end = await log.end()
  const isReached = ({ position }: CheckpointHeader): boolean =>
    Object.entries(position).every(([id, at]) => log.compare(at, end[Number(id)] ?? '') <= 0)
  const store = new CheckpointStore({ directory: dataPaths(directory).checkpoints, keep: Infinity })
  const found = store.newest(
    () => undefined,
    (header) => (isReached(header) ? undefined : 'it is ahead of the log'),
  )
  const [facts] = found === undefined ? [] : [...found.chunks('facts')]
  return found && facts && { facts, position: found.position }
}
