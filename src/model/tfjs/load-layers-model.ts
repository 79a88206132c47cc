/** Reads a LayersModel from files: model.json, and beside it the weights that it names. */
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { ServiceError } from '../../base/errors.ts'
import type { ModelArtifacts } from '../tower-export.ts'
import type { LayersModel, Tensorflow } from './tensorflow.ts'

/** Throws `LAYERS_MODEL_INVALID`. */
export async function loadLayersModel(tf: Tensorflow, path: string): Promise<LayersModel> {
  try {
    return await tf.loadLayersModel(tf.io.fromMemory(await readArtifacts(path)))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ServiceError('LAYERS_MODEL_INVALID', { path, reason })
  }
}

/** What a model.json holds, as far as it is looked at. */
interface ModelFile {
  readonly modelTopology: object
  readonly weightsManifest: readonly {
    readonly paths: readonly string[]
    readonly weights: readonly object[]
  }[]
}

const isModelFile = (found: unknown): found is ModelFile =>
  typeof found === 'object' &&
  found !== null &&
  'modelTopology' in found &&
  'weightsManifest' in found &&
  Array.isArray(found.weightsManifest)

async function readArtifacts(path: string): Promise<ModelArtifacts> {
  const file: unknown = JSON.parse(await readFile(path, 'utf8'))
  if (!isModelFile(file)) throw new Error('it has no modelTopology and weightsManifest')
  const { modelTopology, weightsManifest: groups } = file
  const names = groups.flatMap(({ paths }) => paths)
  const parts = await Promise.all(names.map((name) => readFile(join(dirname(path), name))))
  const bytes = Buffer.concat(parts)
  return {
    modelTopology,
    weightSpecs: groups.flatMap(({ weights }) => weights),
    // Cut out of the pool in which small buffers lie together.
    weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  }
}
