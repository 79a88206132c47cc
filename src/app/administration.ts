/** What the routes for operators show, gathered from configuration, trainer and data directory. */
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { ownRequest } from '../embedding/restrict/restrict.ts'
import type {
  AdminCheckpoint,
  Administration,
  AdminTable,
  DeadLettersView,
  RefusedBatchView,
} from '../serving/http/administration.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import type { ManifestBody } from '../trainer/checkpoint/checkpoint.ts'
import type { Config } from './config/config-schema.ts'
import { withoutSecrets } from './config/without-secrets.ts'
import { checkpointStore } from './newest-checkpoint.ts'
import { dataPaths, deadLettersFile } from './options.ts'
import type { TrainerView } from './service-view.ts'

export interface AdministrationParts {
  readonly config: Config
  /** Of the version of the model that answers now. */
  readonly current: () => Config
  readonly view: TrainerView
  readonly serving: ServingRole | undefined
}

export function administrationOf(parts: AdministrationParts): Administration {
  const { config, current, view, serving } = parts
  const paths = (): ReturnType<typeof dataPaths> => dataPaths(current().process.dataDirectory)
  const shown = () => withoutSecrets({ ...config, model: current().model })
  const ofServing = serving && { index: () => serving.liveIndex.stats() }
  if (!config.process.roles.includes('trainer')) return { configuration: shown, ...ofServing }
  return {
    configuration: shown,
    ...ofServing,
    tables: () => tablesOf(current(), view),
    checkpoints: () => checkpointStore(current().process.dataDirectory).list().map(checkpointView),
    deadLetters: (limit) => deadLettersOf(config, paths().quarantine, limit),
    refusedBatch: (name) => refusedBatch(paths().quarantine, name),
  }
}

function tablesOf({ model }: Config, view: TrainerView): readonly AdminTable[] {
  return (view.status?.tables ?? []).flatMap((stats) => {
    const spec = model.tables.find(({ name }) => name === stats.name)
    if (spec === undefined) return []
    const { dim } = spec
    const request = ownRequest(spec)
    if (request === undefined) return [{ ...stats, dim }]
    const { policy, numReserved, trigger } = request
    return [{ ...stats, dim, restrict: { policy, numReserved, trigger } }]
  })
}

const checkpointView = (listed: ManifestBody): AdminCheckpoint => ({
  name: String(listed.sequence),
  modelVersion: listed.sequence,
  createdAt: listed.createdAt,
  bytes: listed.files.reduce((sum, file) => sum + file.bytes, 0),
  offsets: listed.position,
  ...(listed.base !== undefined && { base: String(listed.base) }),
})

async function deadLettersOf(
  { process }: Config,
  quarantine: string,
  limit: number,
): Promise<DeadLettersView> {
  const { deadLettersTopic: topic } = process.kafka
  return {
    batches: (await refusedBatches(quarantine)).slice(0, limit),
    letters: await lastLines(deadLettersFile(process.dataDirectory), limit),
    ...(topic !== undefined && { topic }),
  }
}

const batchName = /^batch-\d{1,16}\.json$/

/** The newest first. */
async function refusedBatches(directory: string): Promise<readonly RefusedBatchView[]> {
  const names = (await orAbsent(readdir(directory))) ?? []
  const batches = names
    .filter((name) => batchName.test(name))
    .toSorted()
    .toReversed()
  return Promise.all(
    batches.map(async (name) => {
      const { size, mtimeMs } = await stat(join(directory, name))
      return { name, bytes: size, at: Math.floor(mtimeMs) }
    }),
  )
}

async function refusedBatch(directory: string, name: string): Promise<string | undefined> {
  return batchName.test(name) ? orAbsent(readFile(join(directory, name), 'utf8')) : undefined
}

/** Of a file that may be long. */
const tailBytes = 1_048_576

/** Of a file with an object of JSON on each line, the newest first. */
async function lastLines(path: string, limit: number): Promise<readonly object[]> {
  const file = await orAbsent(open(path))
  if (file === undefined) return []
  try {
    const { size } = await file.stat()
    const from = Math.max(0, size - tailBytes)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from)
    const lines = buffer
      .subarray(0, bytesRead)
      .toString()
      .split('\n')
      .slice(from === 0 ? 0 : 1)
    return lines
      .filter((line) => line !== '')
      .slice(-limit)
      .toReversed()
      .map((line): object => JSON.parse(line))
  } finally {
    await file.close()
  }
}

/** undefined: there is no such file. */
async function orAbsent<Value>(value: Promise<Value>): Promise<Value | undefined> {
  try {
    return await value
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
