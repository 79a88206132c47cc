/**
 * What of a specification the engine on TensorFlow.js computes. The rest is refused by name: a
 * model that is learned otherwise than declared would be worse than none. A field that is new in
 * the specification does not compile until it stands here; `false`: refused where it is set.
 */
import { ServiceError } from '../../base/errors.ts'
import type { LayerSpec, LossSpec, ModelSpec, TowerSpec } from '../spec.ts'

type Fields<Spec> = Readonly<Record<keyof Spec, boolean>>
type Layers = { readonly [Kind in LayerSpec['kind']]: Fields<Extract<LayerSpec, { kind: Kind }>> }

const layers: Layers = {
  dense: { kind: true, units: true, activation: true },
  residual: { kind: true, units: true, activation: true },
  cross: { kind: true, projectionDim: true, diagScale: true },
  layerNorm: { kind: true },
  dropout: { kind: true, rate: true },
}

const tower: Fields<TowerSpec> = {
  features: true,
  combine: true,
  layers: true,
  layersModel: true,
  normalize: true,
  heads: true,
}

const score: Fields<ModelSpec['score']> = { temperature: true, popularity: true }

const loss: Fields<LossSpec> = {
  reduction: true,
  kind: true,
  hardNegatives: true,
  correction: true,
  inBatch: true,
  extraNegatives: true,
  negativesAlpha: true,
  activeWindowMs: true,
  maskSeen: true,
  newItemPull: true,
  l2: true,
  typeWeights: true,
  negativeTypes: true,
}

/** Throws `ENGINE_UNSUPPORTED`. */
export function checkSupported(spec: ModelSpec): void {
  for (const side of ['query', 'candidate'] as const) {
    check(spec[side], tower, side)
    for (const [i, layer] of spec[side].layers.entries()) {
      check(layer, layers[layer.kind], `${side}.layers.${i}`)
    }
  }
  check(spec.score, score, 'score')
  check(spec.loss, loss, 'loss')
}

function check(given: object, known: Readonly<Record<string, boolean>>, path: string): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || known[name]) continue
    throw new ServiceError('ENGINE_UNSUPPORTED', { engine: 'tfjs', path: `${path}.${name}` })
  }
}
