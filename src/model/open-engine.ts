/** The engine that a specification asks for. TensorFlow.js is loaded only where it is asked for. */
import { assert } from '../base/assert.ts'
import type { ThreadPool } from '../kernels/thread-pool.ts'
import type { DenseEngine } from './dense-engine.ts'
import type { ModelMemory } from './memory-layout.ts'
import type { ModelPlan } from './plan.ts'
import type { TensorflowPlace } from './tfjs/load-tensorflow.ts'
import { type EngineStage, WasmEngine } from './wasm-engine.ts'

interface EngineSurroundings {
  readonly memory: ModelMemory
  readonly pool: ThreadPool
  readonly plan: ModelPlan
  readonly onStage?: ((stage: EngineStage) => void) | undefined
}

export interface OpenEngine {
  /** Floats of the dense weights of an engine with memory of its own. */
  readonly denseWeights?: number
  readonly create: (surroundings: EngineSurroundings) => DenseEngine
}

/** Throws `ENGINE_UNSUPPORTED`, `LAYERS_MODEL_INVALID`, `TENSORFLOW_UNAVAILABLE`. */
export async function openEngine(plan: ModelPlan, place?: TensorflowPlace): Promise<OpenEngine> {
  const { engine = 'wasm' } = plan.spec
  if (engine === 'wasm') return { create: builtIn }
  const { openOnGpu, openTfjs } = await import('./tfjs/open-tfjs.ts')
  const { TfjsEngine } = await import('./tfjs/tfjs-engine.ts')
  const parts = await (engine === 'auto' ? openOnGpu : openTfjs)(plan, place)
  if (parts === undefined) return { create: builtIn }
  return {
    denseWeights: parts.weightCount,
    create: ({ memory, ...rest }) => {
      return new TfjsEngine(parts, { parameters: memory.towers.parameters, ...rest })
    },
  }
}

function builtIn({ memory, pool, plan, onStage }: EngineSurroundings): DenseEngine {
  assert(memory.engine !== undefined, 'the memory of the built-in engine is laid out')
  return new WasmEngine(memory.engine, pool, plan, onStage)
}
