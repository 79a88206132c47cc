/** What the engine falls back on where there is no native library, and how one is chosen. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import {
  loadTensorflow,
  type TensorflowPlace,
  type TfjsBackend,
} from '../../../src/model/tfjs/load-tensorflow.ts'
import { TwoTower } from '../../../src/model/two-tower.ts'
import { denseEngineContract, type MakeModel } from '../../contract/dense-engine.ts'
import { tensorflowPackages } from '../../support/fetch-tensorflow.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import { limits, plainSpec } from '../fixtures.ts'

const from = join(tensorflowPackages(), 'any.js')
const onWasm: MakeModel = (spec, options) => TwoTower.create(spec, options)
const on =
  (backend: TfjsBackend): MakeModel =>
  (spec, options) =>
    TwoTower.create(
      { ...spec, engine: 'tfjs' },
      { ...options, tensorflow: { from, backends: [backend] } },
    )

describe.each(['wasm', 'cpu'] as const)('%s', (backend) => {
  denseEngineContract(on(backend), onWasm)
})

test('a backend says what it is', async () => {
  const { engine: wasm } = await on('wasm')(plainSpec(2), limits(1, 1))
  const { engine: plain } = await on('cpu')(plainSpec(2), limits(1, 1))
  expect(wasm).toBe('tfjs (tfjs 4.22.0, WebAssembly)')
  expect(plain).toBe('tfjs (tfjs 4.22.0, JavaScript)')
})

/** Where a native package is installed that does not load, and the packages of these names. */
function placeOf(directory: string, ...names: readonly string[]): TensorflowPlace {
  const scope = join(directory, 'node_modules/@tensorflow')
  const broken = join(scope, 'tfjs-node-gpu')
  mkdirSync(broken, { recursive: true })
  writeFileSync(join(broken, 'index.js'), "throw new Error('no addon\\nfor this machine')")
  for (const name of names) symlinkSync(join(from, '../@tensorflow', name), join(scope, name))
  return { from: join(directory, 'any.js') }
}

test('what is not installed, or does not load, is passed over for the next', async () => {
  using directory = temporaryDirectory()
  const place = placeOf(directory.path, 'tfjs', 'tfjs-backend-wasm')
  expect((await loadTensorflow(place)).backend).toBe('wasm')
})

test('auto is the built-in engine where no package for a GPU loads', async () => {
  using directory = temporaryDirectory()
  const auto = { ...plainSpec(2), engine: 'auto' } as const
  const place = placeOf(directory.path, 'tfjs', 'tfjs-backend-wasm')
  const { engine } = await TwoTower.create(auto, { ...limits(1, 1), tensorflow: place })
  expect(engine).toBe('wasm')
})

test('where there is nothing it is said what was tried', async () => {
  using directory = temporaryDirectory()
  await expect(loadTensorflow(placeOf(directory.path))).rejects.toMatchObject({
    code: 'TENSORFLOW_UNAVAILABLE',
    message: expect.stringMatching(
      /tfjs-node-gpu: no addon; tfjs-node: Cannot find module .*; wasm: .*; cpu: /,
    ) as string,
  })
})
