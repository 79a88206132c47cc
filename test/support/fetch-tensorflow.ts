/**
 * Builds the packages of the engine `tfjs` from the package registries alone, into
 * `node_modules/.cache`: TensorFlow.js without its install script (which wants another server), the
 * libraries and C headers of a TensorFlow wheel, and the addon between them with one call of g++. By
 * hand: `node test/support/fetch-tensorflow.ts` prints the folder whose packages NODE_PATH may name.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execPath } from 'node:process'

import { cached, caches } from './cache.ts'

const version = '4.22.0'
/** The smallest with a plain C library; any Python's will do, nothing of Python is used. */
const wheels = { cpu: 'tensorflow-cpu==2.13.1', gpu: 'tensorflow==2.13.1' }
type Device = keyof typeof wheels

/** Of each part of the build; together about half a minute. */
const limitMs = 300_000
const packages = [
  `@tensorflow/tfjs-node-gpu@${version}`,
  `@tensorflow/tfjs-backend-wasm@${version}`,
  'node-api-headers@1.9.0',
]
/** Wheels name the oldest C library that they run on. */
const platforms = ['manylinux2014_x86_64', 'manylinux_2_17_x86_64']

function run(program: string, args: readonly string[], cwd: string): void {
  execFileSync(program, args, { cwd, stdio: 'pipe', timeout: limitMs })
}

function fetchWheel(wheel: string, folder: string, target: string): void {
  const python = ['--implementation', 'cp', '--python-version', '3.11']
  const places = platforms.flatMap((platform) => ['--platform', platform])
  const quiet = ['-q', '--no-deps', '--no-cache-dir', '--only-binary=:all:']
  run(
    'python3',
    ['-m', 'pip', 'download', ...quiet, ...python, ...places, '-d', '.', wheel],
    folder,
  )
  run('python3', [join(import.meta.dirname, 'unpack-tensorflow.py'), '.', target], folder)
}

/** Plain Node-API, so no headers of one version of Node and no node-gyp. */
function compile(addon: string): void {
  mkdirSync(join(addon, 'lib/napi-v8'), { recursive: true })
  const headers = ['../../node-api-headers/include', 'deps/include'].map((path) => `-I${path}`)
  const sources = ['binding/tfjs_backend.cc', 'binding/tfjs_binding.cc']
  const libraries = ['cc', 'framework'].map((name) => `-l:libtensorflow_${name}.so.2`)
  const found = ['-Ldeps/lib', ...libraries, '-Wl,-rpath,$ORIGIN/../../deps/lib']
  const how = ['-O2', '-std=c++17', '-fPIC', '-shared', '-DNAPI_VERSION=8']
  const output = ['-o', 'lib/napi-v8/tfjs_binding.node']
  run('g++', [...how, ...headers, ...sources, ...output, ...found], addon)
}

function build(folder: string, device: Device): void {
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error']
  run('npm', ['install', '--prefix', folder, '--ignore-scripts', ...quiet, ...packages], folder)
  const addon = join(folder, 'node_modules/@tensorflow/tfjs-node-gpu')
  fetchWheel(wheels[device], folder, join(addon, 'deps'))
  compile(addon)
}

const nameOf = (device: Device): string => `tensorflow/${version}-${wheels[device]}`

/**
 * The folder of the packages; throws where they cannot be had. Built by one process at a time:
 * hundreds of MB are enough.
 */
export function tensorflowPackages(device: Device = 'cpu'): string {
  const folder = join(caches, nameOf(device))
  if (!existsSync(folder)) {
    mkdirSync(caches, { recursive: true })
    const lock = join(caches, 'tensorflow.lock')
    run('flock', [lock, execPath, import.meta.filename, device], caches)
  }
  return join(folder, 'node_modules')
}

if (import.meta.main) {
  const device = process.argv[2] === 'gpu' ? 'gpu' : 'cpu'
  const folder = cached(nameOf(device), (fresh) => build(fresh, device))
  process.stdout.write(`${join(folder, 'node_modules')}\n`)
}
