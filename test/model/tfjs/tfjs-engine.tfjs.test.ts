/** The engine on the native library of TensorFlow, built from package registries. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import { Arena } from '../../../src/kernels/arena.ts'
import { ThreadPool } from '../../../src/kernels/thread-pool.ts'
import type { DenseEngine } from '../../../src/model/dense-engine.ts'
import { type ModelPlan, planModel } from '../../../src/model/plan.ts'
import type { LayerSpec, ModelSpec } from '../../../src/model/spec.ts'
import { loadTensorflow } from '../../../src/model/tfjs/load-tensorflow.ts'
import type { ModelArtifacts } from '../../../src/model/tower-export.ts'
import { TwoTower } from '../../../src/model/two-tower.ts'
import { layOutEngine, WasmEngine } from '../../../src/model/wasm-engine.ts'
import {
  denseEngineContract,
  distance,
  engineSpecs,
  type MakeModel,
  stepped,
} from '../../contract/dense-engine.ts'
import { tensorflowPackages } from '../../support/fetch-tensorflow.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import {
  crossSpec,
  fillRows,
  headsSpec,
  limits,
  mixedSpec,
  plainSpec,
  someBatch,
  someItems,
  someQueries,
} from '../fixtures.ts'

const hasGpu = existsSync('/dev/nvidia0')
const from = join(tensorflowPackages(hasGpu ? 'gpu' : 'cpu'), 'any.js')
const onWasm: MakeModel = (spec, options) => TwoTower.create(spec, options)
const onTfjs: MakeModel = (spec, options) =>
  TwoTower.create({ ...spec, engine: 'tfjs' }, { ...options, tensorflow: { from } })
const { tf, backend, device } = await loadTensorflow({ from })

denseEngineContract(onTfjs, onWasm)

test('it is the native library, and on a GPU where there is one', async () => {
  const model = await onTfjs(plainSpec(4), limits(2, 2))
  expect(backend).toBe('tfjs-node-gpu')
  expect(model.engine).toMatch(/^tfjs \(tfjs-node-gpu 4\.22\.0, TensorFlow 2\.\d+\.\d+, [cg]pu\)$/)
  expect(device).toBe(hasGpu ? 'gpu' : 'cpu')
  await model.close()
})

test('auto takes a GPU where there is one, else the built-in engine', async () => {
  const auto = { ...plainSpec(4), engine: 'auto' } as const
  const model = await TwoTower.create(auto, { ...limits(2, 2), tensorflow: { from } })
  expect(model.engine).toMatch(hasGpu ? /^tfjs .*, gpu\)$/ : /^wasm$/)
  await model.close()
})

interface Run {
  readonly steps: number
  readonly queries: number
  readonly columns: number
}

/** How many tensors there are beside those from before: after each step, and after the model. */
async function tensorsOver(
  spec: ModelSpec,
  { steps, queries, columns }: Run,
): Promise<{ readonly between: ReadonlySet<number>; readonly after: number }> {
  const before = tf.memory().numTensors
  const model = await onTfjs(spec, limits(queries, columns))
  const items = someItems(columns)
  const batch = someBatch(queries, columns)
  const between = new Set<number>()
  fillRows(model.prepareStep(someQueries(queries, items), items))
  for (let i = 0; i < steps; i += 1) {
    model.step(batch)
    model.update()
    between.add(tf.memory().numTensors - before)
  }
  await model.close()
  return { between, after: tf.memory().numTensors - before }
}

/** As small as a model can be that has weights: what a step costs is its operations. */
function smallestSpec(): ModelSpec {
  const spec = plainSpec(1)
  const layers = [{ kind: 'dense', units: 1, activation: 'linear' }] as const
  return { ...spec, query: { ...spec.query, layers } }
}

// Between two steps there are the weights, and nothing after the last.
test('10,000 steps leave no tensor behind', { timeout: 400_000 }, async () => {
  const run = { steps: 10_000, queries: 1, columns: 1 }
  const found = await tensorsOver(smallestSpec(), run)
  expect(found).toEqual({ between: new Set([2]), after: 0 })
})

test.each([
  ['every kind of feature and layer', mixedSpec(), 11],
  ['several heads', headsSpec(), 5],
])('steps of every kind leave none behind: %s', async (_, spec, weights) => {
  const found = await tensorsOver(spec, { steps: 20, queries: 4, columns: 5 })
  expect(found).toEqual({ between: new Set([weights]), after: 0 })
})

/** The built-in engine alone, for inputs that no feature made. */
async function engineOf(spec: ModelSpec): Promise<{ engine: DenseEngine; plan: ModelPlan }> {
  const plan = planModel(spec)
  const arena = new Arena(1 << 24)
  const memory = layOutEngine(arena, plan, { maxQueries: 6, maxItems: 6 })
  const pool = await ThreadPool.create(arena, { threads: 1 })
  return { engine: new WasmEngine(memory, pool, plan), plan }
}

const exportedSpecs: typeof engineSpecs = [
  ...engineSpecs.slice(0, 5),
  ['several heads of a query', headsSpec()],
]

test.each(exportedSpecs)('exported towers answer equally: %s', async (_, spec) => {
  const { engine, plan } = await engineOf(spec)
  const weights = new Float32Array(engine.weightCount)
  engine.saveWeights(weights)
  engine.loadWeights(weights.map((value, i) => value + Math.sin(i + 1) / 4))
  const towers = await engine.exportTowers()
  const random = seededRandom(5)
  for (const side of ['query', 'candidate'] as const) {
    const { width } = plan[side]
    const inputs = Float32Array.from({ length: 6 * width }, () => random.normal())
    const isQuery = side === 'query'
    const vectors = isQuery ? engine.embedQueries(inputs, 6) : engine.embedCandidates(inputs, 6)
    const expected = vectors.slice()
    const model = await tf.loadLayersModel(tf.io.fromMemory(towers[side]))
    let answers = new Float32Array(0)
    tf.tidy(() => {
      const [output] = [model.apply(tf.tensor(inputs, [6, width]), { training: false })].flat()
      answers = new Float32Array(output.dataSync())
    })
    model.dispose()
    expect(distance(answers, expected)).toBeLessThan(1e-5)
  }
})

/** Writes towers as files, the way a user would have them. */
async function written(spec: ModelSpec, directory: string): Promise<Record<Side, string>> {
  const { engine } = await engineOf(spec)
  const { query, candidate } = await engine.exportTowers()
  const write = (side: Side, artifacts: ModelArtifacts): string => {
    const { modelTopology, weightSpecs: weights, weightData } = artifacts
    const folder = join(directory, side)
    mkdirSync(folder)
    writeFileSync(join(folder, 'weights.bin'), new Uint8Array(weightData))
    const weightsManifest = [{ paths: ['weights.bin'], weights }]
    const path = join(folder, 'model.json')
    writeFileSync(path, JSON.stringify({ modelTopology, weightsManifest }))
    return path
  }
  return { query: write('query', query), candidate: write('candidate', candidate) }
}

type Side = 'query' | 'candidate'

const withModels = (spec: ModelSpec, models: Partial<Record<Side, string>>): ModelSpec => {
  const tower = (side: Side): ModelSpec['query'] => {
    const layersModel = models[side]
    return layersModel === undefined ? spec[side] : { ...spec[side], layers: [], layersModel }
  }
  return { ...spec, query: tower('query'), candidate: tower('candidate') }
}

test.each([
  ['both', ['query', 'candidate'], mixedSpec()],
  ['one', ['query'], mixedSpec()],
  ['the other', ['candidate'], mixedSpec()],
  ['one of several heads', ['query'], headsSpec()],
] as const)('LayersModels in the place of towers learn the same: %s', async (_, sides, spec) => {
  using directory = temporaryDirectory()
  // The engine's own normalisation comes behind the LayersModel.
  const bare = { ...spec, query: { ...spec.query, normalize: false } }
  const paths = await written(bare, directory.path)
  const models = Object.fromEntries(sides.map((side) => [side, paths[side]]))
  const before = tf.memory().numTensors
  const [theirs, ours] = [
    await stepped(onTfjs, withModels(spec, models)),
    await stepped(onTfjs, spec),
  ]
  for (const [i, gradients] of theirs.gradients.entries()) {
    expect(distance(gradients, ours.gradients[i])).toBeLessThan(1e-4)
  }
  expect(distance([theirs.result.gradientNorm], [ours.result.gradientNorm])).toBeLessThan(1e-4)
  theirs.model.update()
  ours.model.update()
  const state = { optimizerState: true }
  const weights = ours.model.weights(state)
  expect(distance(theirs.model.weights(state), weights)).toBeLessThan(1e-4)
  const exported = [await theirs.model.exportTowers(), await ours.model.exportTowers()]
  const [given, own] = exported.map(({ query }) => new Float32Array(query.weightData))
  // What brings the engine's own to unit length comes last.
  const layers = spec.query.normalize ? own.subarray(0, given.length) : own
  expect(distance(given, layers)).toBeLessThan(1e-4)
  await Promise.all([theirs.model.close(), ours.model.close()])
  expect(tf.memory().numTensors).toBe(before)
})

const refused = (spec: ModelSpec): Promise<TwoTower> => onTfjs(spec, limits(2, 2))

test('a LayersModel that does not fit is refused', async () => {
  using directory = temporaryDirectory()
  const spec = mixedSpec()
  const paths = await written(spec, directory.path)
  const code = 'LAYERS_MODEL_INVALID'
  await expect(refused(withModels(spec, { query: paths.candidate }))).rejects.toMatchObject({
    code,
  })
  const narrow = { ...spec, dim: 5, candidate: { ...spec.candidate, layers: [] } }
  const models = { query: paths.query, candidate: paths.candidate }
  await expect(refused(withModels(narrow, models))).rejects.toMatchObject({ code })
  const wide = { ...spec, query: { ...spec.query, heads: 2 } }
  await expect(refused(withModels(wide, { query: paths.query }))).rejects.toMatchObject({
    code,
    details: { reason: expect.stringContaining('for each of 2 heads') as string },
  })
  const missing = { query: join(directory.path, 'none.json') }
  await expect(refused(withModels(spec, missing))).rejects.toMatchObject({ code })
  writeFileSync(join(directory.path, 'empty.json'), '{}')
  const empty = { query: join(directory.path, 'empty.json') }
  await expect(refused(withModels(spec, empty))).rejects.toMatchObject({ code })
})

test('a LayersModel whose weights change by themselves is refused', async () => {
  using directory = temporaryDirectory()
  const spec = plainSpec(5)
  const { query } = await written(spec, directory.path)
  const file = JSON.parse(readFileSync(query, 'utf8')) as ModelFile
  const [input] = file.modelTopology.config.layers
  const norm = {
    class_name: 'BatchNormalization',
    name: 'norm',
    config: { name: 'norm' },
    inbound_nodes: [[['features', 0, 0, {}]]],
  }
  const config = {
    ...file.modelTopology.config,
    layers: [input, norm],
    output_layers: [['norm', 0, 0]],
  }
  const names = ['gamma', 'beta', 'moving_mean', 'moving_variance']
  const weights = names.map((name) => ({ name: `norm/${name}`, shape: [5], dtype: 'float32' }))
  writeFileSync(
    join(directory.path, 'ones.bin'),
    new Uint8Array(new Float32Array(20).fill(1).buffer),
  )
  const path = join(directory.path, 'model.json')
  const modelTopology = { ...file.modelTopology, config }
  const weightsManifest = [{ paths: ['ones.bin'], weights }]
  writeFileSync(path, JSON.stringify({ modelTopology, weightsManifest }))
  await expect(refused(withModels(spec, { query: path }))).rejects.toMatchObject({
    code: 'LAYERS_MODEL_INVALID',
    details: { reason: expect.stringContaining('BatchNormalization') as string },
  })
})

test('what the engine does not know is refused by name', async () => {
  const spec = crossSpec()
  const layers = [...spec.query.layers]
  layers.push({ kind: 'dense', units: 6, activation: 'linear', sparkle: 2 } as LayerSpec)
  await expect(refused({ ...spec, query: { ...spec.query, layers } })).rejects.toMatchObject({
    code: 'ENGINE_UNSUPPORTED',
    details: { engine: 'tfjs', path: `query.layers.${layers.length - 1}.sparkle` },
  })
})

interface ModelFile {
  readonly modelTopology: { readonly config: { readonly layers: readonly object[] } }
}
