/** Towers out of a checkpoint, read by TensorFlow.js, and learned on as somebody's own. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env, execPath } from 'node:process'

import { expect, test } from 'vitest'

import { loadLayersModel } from '../../../src/model/tfjs/load-layers-model.ts'
import { loadTensorflow } from '../../../src/model/tfjs/load-tensorflow.ts'
import { recording, run } from '../../support/cli.ts'
import { tensorflowPackages } from '../../support/fetch-tensorflow.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const packages = tensorflowPackages()

/** A process of its own: where packages are looked for is decided at its start. */
function freshet(...args: readonly string[]): Record<string, unknown> {
  const program = join(import.meta.dirname, '../../../src/app/cli.ts')
  const options = { encoding: 'utf8', env: { ...env, NODE_PATH: packages }, stdio: 'pipe' } as const
  const out = execFileSync(execPath, [program, ...args, '--json'], options)
  return JSON.parse(out.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>
}

interface Described {
  readonly dim: number
  readonly query: { readonly width: number; readonly features: readonly { width: number }[] }
}

test('towers are exported, read back, and learned on', { timeout: 120_000 }, async () => {
  using directory = temporaryDirectory()
  const [data, files] = ['data', 'files'].map((name) => join(directory.path, name))
  const clicks = recording(join(directory.path, 'clicks.csv'))
  await run('replay', clicks, '--data', data)
  const { json, code } = await run('export', 'towers', '--data', data, '--to', files, '--json')
  expect(code).toBe(0)
  expect(json).toMatchObject({ directory: files, towers: ['query', 'candidate'] })
  const { dim, query } = JSON.parse(readFileSync(join(files, 'towers.json'), 'utf8')) as Described
  const { tf } = await loadTensorflow({ from: join(packages, 'any.js') })
  const path = join(files, 'query/model.json')
  const model = await loadLayersModel(tf, path)
  expect(model.inputs[0].shape).toEqual([null, query.width])
  expect(model.outputs[0].shape).toEqual([null, dim])
  model.dispose()

  const own = [
    ...set('engine', 'tfjs'),
    // The recording has few items and no surprises: every click is to count.
    ...set('loss.maskSeen', 'false'),
    ...set('loss.newItemPull', '0'),
    ...set('towers.query.layers', '[]'),
    ...set('towers.query.layersModel', path),
  ]
  const again = join(directory.path, 'again')
  const learned = freshet('replay', clicks, '--data', again, ...own)
  expect(learned).toMatchObject({ events: 900, guardTrips: 0 })
  const theirs = join(directory.path, 'theirs')
  freshet('export', 'towers', '--data', again, '--to', theirs)
  const [before, after] = [files, theirs].map(weightsIn)
  expect(after.length).toBe(before.length)
  expect(after.equals(before)).toBe(false)
})

const weightsIn = (folder: string): Buffer => readFileSync(join(folder, 'query/weights.bin'))

const set = (option: string, value: string): string[] => ['--set', `model.${option}=${value}`]
