/** The built-in engine, with its kernels in WebAssembly, beside its twin in TypeScript. */
import { TwoTower } from '../../src/model/two-tower.ts'
import { denseEngineContract } from '../contract/dense-engine.ts'

denseEngineContract(
  (spec, options) => TwoTower.create(spec, options),
  (spec, options) => TwoTower.create(spec, { ...options, implementation: 'reference' }),
)
