/**
 * Finds TensorFlow.js among the installed packages and starts the best backend there is: the native
 * library of tfjs-node-gpu (CUDA where there is a GPU, else its processor's code), that of
 * tfjs-node, WebAssembly, plain JavaScript. Packages are looked for as Node does, from here and in
 * NODE_PATH.
 */
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { env } from 'node:process'

import { assert } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import { bridgeNodeGap } from './node-gap.ts'
import type { NativeBackend, Tensorflow } from './tensorflow.ts'

/** In the order of preference. */
export const tfjsBackends = ['tfjs-node-gpu', 'tfjs-node', 'wasm', 'cpu'] as const
export type TfjsBackend = (typeof tfjsBackends)[number]

export interface LoadedTensorflow {
  readonly tf: Tensorflow
  readonly backend: TfjsBackend
  /** For people: package or backend, version, device. */
  readonly description: string
  readonly device: 'cpu' | 'gpu'
  /** Of the packages with a native library. */
  readonly native?: NativeBackend
}

const scope = '@tensorflow'

export interface TensorflowPlace {
  /** Tried in this order. */
  readonly backends?: readonly TfjsBackend[]
  /** A file beside whose packages to look; absent: this one. */
  readonly from?: string | URL
}

/** Throws `TENSORFLOW_UNAVAILABLE`. */
export async function loadTensorflow(place: TensorflowPlace = {}): Promise<LoadedTensorflow> {
  const { backends = tfjsBackends, from = import.meta.url } = place
  const require = createRequire(from)
  bridgeNodeGap()
  // Of what the library says while it starts, errors alone.
  env['TF_CPP_MIN_LOG_LEVEL'] ??= '2'
  // Off by default on processors without AVX-512, though its products are faster there, too.
  env['TF_ENABLE_ONEDNN_OPTS'] ??= '1'
  const reasons: string[] = []
  for (const backend of backends) {
    try {
      return await start(backend, require)
    } catch (error) {
      reasons.push(`${backend}: ${firstLine(error)}`)
    }
  }
  throw new ServiceError('TENSORFLOW_UNAVAILABLE', { reason: reasons.join('; ') })
}

function start(backend: TfjsBackend, require: NodeJS.Require): Promise<LoadedTensorflow> {
  if (backend === 'wasm') return startWasm(require)
  if (backend === 'cpu') return startPlain(require)
  return startNative(backend, require)
}

interface WasmBackend {
  readonly setWasmPaths: (folder: string) => void
}

const isTensorflow = (found: unknown): found is Tensorflow => has(found, 'tidy', 'setBackend')
const isNative = (found: object): found is NativeBackend =>
  has(found, 'isUsingGpuDevice', 'binding', 'executeSingleOutput')
const isWasm = (found: unknown): found is WasmBackend => has(found, 'setWasmPaths')

const has = (found: unknown, ...names: readonly string[]): boolean =>
  typeof found === 'object' && found !== null && names.every((name) => name in found)

function packageOf(require: NodeJS.Require, name: string): Tensorflow {
  const found: unknown = require(`${scope}/${name}`)
  assert(isTensorflow(found), 'the package is TensorFlow.js')
  return found
}

async function startNative(
  backend: 'tfjs-node-gpu' | 'tfjs-node',
  require: NodeJS.Require,
): Promise<LoadedTensorflow> {
  const tf = packageOf(require, backend)
  await use(tf, 'tensorflow')
  const native = tf.backend()
  assert(isNative(native), 'the backend is tfjs-node’s')
  const device = native.isUsingGpuDevice ? 'gpu' : 'cpu'
  const { TF_Version: version } = native.binding
  const description = `${backend} ${tf.version_core}, TensorFlow ${version}, ${device}`
  return { tf, backend, device, description, native }
}

async function startWasm(require: NodeJS.Require): Promise<LoadedTensorflow> {
  const tf = packageOf(require, 'tfjs')
  const name = `${scope}/tfjs-backend-wasm`
  const wasm: unknown = require(name)
  assert(isWasm(wasm), 'the package is the WebAssembly backend')
  wasm.setWasmPaths(`${dirname(require.resolve(name))}/`)
  await use(tf, 'wasm')
  return { tf, backend: 'wasm', device: 'cpu', description: `tfjs ${tf.version_core}, WebAssembly` }
}

async function startPlain(require: NodeJS.Require): Promise<LoadedTensorflow> {
  const tf = packageOf(require, 'tfjs')
  await use(tf, 'cpu')
  return { tf, backend: 'cpu', device: 'cpu', description: `tfjs ${tf.version_core}, JavaScript` }
}

async function use(tf: Tensorflow, name: string): Promise<void> {
  await tf.setBackend(name)
  await tf.ready()
  // A backend that cannot start is passed over for the next, with a warning.
  if (tf.getBackend() !== name) throw new Error(`the backend ${name} did not start`)
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
