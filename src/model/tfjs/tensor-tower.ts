/** A tower on tensors, as the engine sees it: specified, or brought by the user. */
import type { ModelArtifacts } from '../tower-export.ts'
import type { Tensor } from './tensorflow.ts'

export interface TensorTower {
  readonly weightCount: number
  /** What is learned, in the order in which it is saved. */
  readonly weights: readonly Tensor[]
  /** Writes the weights that it starts with. */
  initialize(into: Float32Array): void
  /** Takes all weights; not in a `tidy`, which would take them away again. */
  load(values: Float32Array): void
  embed(x: Tensor): Tensor
  /** The output while operations are recorded, so that gradients can be derived. */
  derivable(x: Tensor, seed: number): Tensor
  /** As a LayersModel with these weights. */
  export(name: string, values: Float32Array): Promise<ModelArtifacts>
  close(): void
}
