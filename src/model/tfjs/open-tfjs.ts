/** What the engine on TensorFlow.js is made of before the model's memory is laid out. */
import { ServiceError } from '../../base/errors.ts'
import { seededRandom } from '../../base/random.ts'
import { headsOf, type ModelPlan } from '../plan.ts'
import { ClosedLoss } from './closed-loss.ts'
import { ClosedTower } from './closed-tower.ts'
import { HostLoss } from './host-loss.ts'
import { LayersTower } from './layers-tower.ts'
import { loadLayersModel } from './load-layers-model.ts'
import { type LoadedTensorflow, loadTensorflow, type TensorflowPlace } from './load-tensorflow.ts'
import { type Products, productsOf } from './products.ts'
import { checkSupported } from './supported.ts'
import type { TensorLoss } from './tensor-loss.ts'
import type { TensorTower } from './tensor-tower.ts'
import type { Tensorflow } from './tensorflow.ts'

export interface TfjsParts {
  readonly loaded: LoadedTensorflow
  readonly query: TensorTower
  readonly candidate: TensorTower
  readonly loss: TensorLoss
  readonly weightCount: number
}

interface TowerPlace {
  readonly plan: ModelPlan
  readonly side: 'query' | 'candidate'
  /** Whether no weights are before its own. */
  readonly isFirst: boolean
}

/** Logits that are there at once: what a processor's caches hold, or what keeps a GPU busy. */
const tileFloats = { cpu: 1 << 22, gpu: 1 << 26 }
/** Of the weights at the start: those of the built-in engine. */
const seeds = { query: 0, candidate: 1 }

/** Throws `ENGINE_UNSUPPORTED`, `LAYERS_MODEL_INVALID`, `TENSORFLOW_UNAVAILABLE`. */
export async function openTfjs(plan: ModelPlan, place?: TensorflowPlace): Promise<TfjsParts> {
  checkSupported(plan.spec)
  return openOn(plan, await loadTensorflow(place))
}

/** The same where there is a GPU, and nothing where there is none, or no package for it. */
export async function openOnGpu(
  plan: ModelPlan,
  place?: TensorflowPlace,
): Promise<TfjsParts | undefined> {
  checkSupported(plan.spec)
  try {
    const loaded = await loadTensorflow({ ...place, backends: ['tfjs-node-gpu'] })
    return loaded.device === 'gpu' ? await openOn(plan, loaded) : undefined
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'TENSORFLOW_UNAVAILABLE') return undefined
    throw error
  }
}

async function openOn(plan: ModelPlan, loaded: LoadedTensorflow): Promise<TfjsParts> {
  const { spec } = plan
  const { tf, device, native } = loaded
  const products = productsOf(tf, native)
  const query = await openTower(tf, products, { plan, side: 'query', isFirst: true })
  const isFirst = query.weightCount === 0
  const candidate = await openTower(tf, products, { plan, side: 'candidate', isFirst })
  const shape = {
    dim: spec.dim,
    heads: headsOf(spec),
    loss: spec.loss,
    popularity: plan.popularity !== undefined,
    tileFloats: tileFloats[device],
  }
  const onTensors = new ClosedLoss(tf, products, shape)
  const isOnHost = native !== undefined && device === 'cpu'
  const loss = isOnHost ? new HostLoss(tf, products, shape, onTensors) : onTensors
  const weights = query.weightCount + candidate.weightCount
  return { loaded, query, candidate, loss, weightCount: weights }
}

async function openTower(
  tf: Tensorflow,
  products: Products,
  { plan, side, isFirst }: TowerPlace,
): Promise<TensorTower> {
  const { width } = plan[side]
  const { seed, dim } = plan.spec
  const { layers, layersModel, normalize, heads = 1 } = plan.spec[side]
  if (layersModel === undefined) {
    const shape = { layers, normalize, heads, width, maxRows: 0 }
    const random = seededRandom(seed, seeds[side])
    return new ClosedTower(tf, products, { shape, random, isFirst })
  }
  const model = await loadLayersModel(tf, layersModel)
  return new LayersTower(tf, model, { path: layersModel, width, dim, heads, normalize })
}
