/**
 * `freshet export towers`: the towers of a data directory's newest checkpoint as TensorFlow.js
 * LayersModels, `query/` and `candidate/`, and in `towers.json` what their inputs are. What
 * features are pooled from is in the tables, see `freshet export tables`.
 */
import { join } from 'node:path'

import { present } from '../../base/assert.ts'
import type { ExportedTowers } from '../../model/dense-engine.ts'
import { headsOf, planModel, type SidePlan } from '../../model/plan.ts'
import { poolingLayout } from '../../model/pooled-side.ts'
import type { ModelSpec } from '../../model/spec.ts'
import type { ModelArtifacts } from '../../model/tower-export.ts'
import { TwoTower } from '../../model/two-tower.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { makeDirectory } from '../make-directory.ts'
import { newestCheckpoint } from '../newest-checkpoint.ts'
import { writeWhole } from './table-files.ts'

interface ExportOptions {
  readonly config: Config
  /** Where the files go. */
  readonly directory: string
}

const sides = ['query', 'candidate'] as const
const weightsFile = 'weights.bin'

/** Throws `CHECKPOINT_MISSING`, `OUTPUT_FAILED`, `WEIGHTS_INVALID`, and what the engine throws. */
export async function exportTowers({ config, directory }: ExportOptions): Promise<JsonObject> {
  const { checkpoint, saved } = newestCheckpoint(config.process.dataDirectory)
  const { spec } = saved
  const [bytes] = checkpoint.chunks('weights')
  const weights = new Float32Array(present(bytes, 'weights').slice().buffer)
  const towers = await towersOf(spec, weights)
  for (const side of sides) await writeTower(join(directory, side), towers[side])
  const plan = planModel(spec)
  const query = inputsOf(plan.query, weights, 0)
  const candidate = inputsOf(plan.candidate, weights, query.end)
  const description = {
    checkpoint: checkpoint.sequence,
    dim: spec.dim,
    temperature: spec.score.temperature,
    query: { ...query.inputs, normalize: spec.query.normalize, heads: headsOf(spec) },
    candidate: { ...candidate.inputs, normalize: spec.candidate.normalize },
  }
  await writeJson(join(directory, 'towers.json'), description)
  return { directory, checkpoint: checkpoint.sequence, towers: [...sides] }
}

async function towersOf(spec: ModelSpec, weights: Float32Array): Promise<ExportedTowers> {
  const model = await TwoTower.create(spec, { maxQueries: 1, maxItems: 1 })
  try {
    model.load(weights)
    return await model.exportTowers()
  } finally {
    await model.close()
  }
}

async function writeTower(
  directory: string,
  { modelTopology, weightSpecs, weightData }: ModelArtifacts,
): Promise<void> {
  makeDirectory(directory)
  await writeWhole(join(directory, weightsFile), [new Uint8Array(weightData)])
  await writeJson(join(directory, 'model.json'), {
    format: 'layers-model',
    generatedBy: 'freshet',
    convertedBy: null,
    modelTopology,
    weightsManifest: [{ paths: [weightsFile], weights: weightSpecs }],
  })
}

/** Which of a tower's inputs a feature fills, and what is learned of how its rows are pooled. */
function inputsOf(
  plan: SidePlan,
  weights: Float32Array,
  start: number,
): { readonly inputs: object; readonly end: number } {
  const { bias, features, end } = poolingLayout(plan, start)
  const described = plan.features.map(({ spec, column, width }, i) => {
    const own = [...weights.subarray(features[i], features[i + 1] ?? end)]
    const { name, kind, table } = spec
    return { name, kind, table, column, width, ...(own.length > 0 && { weights: own }) }
  })
  const added = [...weights.subarray(bias, features[0] ?? end)]
  const inputs = { width: plan.width, combine: plan.combine, bias: added, features: described }
  return { inputs, end }
}

async function writeJson(path: string, value: object): Promise<void> {
  await writeWhole(path, [new TextEncoder().encode(`${JSON.stringify(value, undefined, 1)}\n`)])
}
