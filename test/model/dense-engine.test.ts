/** The built-in engine, with its kernels in WebAssembly, beside its twin in TypeScript. */
import { TwoTower } from '../../src/model/two-tower.ts'
import { denseEngineContract, engineSpecs } from '../contract/dense-engine.ts'
import { headsSpec } from './fixtures.ts'

denseEngineContract(
  (spec, options) => TwoTower.create(spec, { ...options, threads: 2 }),
  (spec, options) => TwoTower.create(spec, { ...options, implementation: 'reference' }),
  [...engineSpecs, ['several heads of a query', headsSpec()]],
)
