/**
 * What of TensorFlow.js the engine uses, as types: its packages are optional peers, so nothing may
 * import them. Names and meanings are theirs (tfjs 4.22).
 */
import type { ModelArtifacts } from '../tower-export.ts'

export interface Tensor {
  readonly shape: readonly number[]
  /** Waits for the values and copies them out. */
  dataSync(): Float32Array
  dispose(): void
}

interface Variable extends Tensor {
  assign(value: Tensor): void
}

/** A weight of a layer. */
export interface LayerVariable {
  readonly name: string
  readonly shape: readonly (number | null)[]
  read(): Variable
}

interface Layer {
  readonly name: string
  getClassName(): string
}

export interface LayersModel {
  readonly inputs: readonly { readonly shape: readonly (number | null)[] }[]
  readonly outputs: readonly { readonly shape: readonly (number | null)[] }[]
  readonly layers: readonly Layer[]
  readonly trainableWeights: readonly LayerVariable[]
  apply(input: Tensor, options: { readonly training: boolean }): Tensor | Tensor[]
  save(handler: object): Promise<unknown>
  dispose(): unknown
}

type Unary = (x: Tensor) => Tensor
type Binary = (a: Tensor, b: Tensor | number) => Tensor
type Reduction = (x: Tensor, axis?: number, keepDims?: boolean) => Tensor
type Values = Float32Array | Int32Array
type Shape = readonly number[]

/** Keeps what the gradients need. */
type Save = (xs: readonly Tensor[]) => void
interface Differentiable {
  readonly value: Tensor
  readonly gradFunc: (dy: Tensor, saved: readonly Tensor[]) => readonly Tensor[]
}
/** Of a function of tensors: its value, and its gradients by each of them. */
type ValueAndGradients = (xs: readonly Tensor[]) => { value: Tensor; grads: Tensor[] }

/** Of an operation of the native library; the kinds of values are the binding's numbers. */
export interface NativeAttribute {
  readonly name: string
  readonly type: number
  readonly value: boolean | number
}

/** What tfjs-node's backend says of itself, and how it runs an operation by its own name. */
export interface NativeBackend {
  readonly isUsingGpuDevice: boolean
  readonly binding: {
    readonly TF_Version: string
    readonly TF_ATTR_BOOL: number
    readonly TF_ATTR_TYPE: number
    readonly TF_FLOAT: number
  }
  /** Belongs to the `tidy` in which it is called, like what any operation gives. */
  executeSingleOutput(
    name: string,
    attributes: readonly NativeAttribute[],
    inputs: readonly Tensor[],
  ): Tensor
}

export interface Tensorflow {
  readonly version_core: string
  tidy<Result>(work: () => Result): Result
  keep(x: Tensor): Tensor
  memory(): { readonly numTensors: number; readonly numBytes: number }
  getBackend(): string
  setBackend(name: string): Promise<boolean>
  ready(): Promise<void>
  backend(): object

  tensor(values: Values, shape: Shape, dtype?: 'float32' | 'int32'): Tensor
  zeros(shape: Shape): Tensor
  ones(shape: Shape): Tensor
  reshape(x: Tensor, shape: Shape): Tensor
  /** `sizes`: or how many parts of one size there are. */
  split(x: Tensor, sizes: readonly number[] | number, axis: number): Tensor[]
  concat(xs: readonly Tensor[], axis?: number): Tensor
  slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor
  transpose: Unary
  gather(x: Tensor, indices: Tensor): Tensor
  gatherND(x: Tensor, indices: Tensor): Tensor
  scatterND(indices: Tensor, updates: Tensor, shape: Shape): Tensor
  tensorScatterUpdate(x: Tensor, indices: Tensor, updates: Tensor): Tensor
  topk(x: Tensor, k: number, sorted?: boolean): { values: Tensor; indices: Tensor }

  matMul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor
  add: Binary
  sub: Binary
  mul: Binary
  div: Binary
  maximum: Binary
  equal: Binary
  cast(x: Tensor, dtype: 'float32'): Tensor
  exp: Unary
  log: Unary
  erf: Unary
  tanh: Unary
  relu: Unary
  sign: Unary
  step: Unary
  square: Unary
  sqrt: Unary
  rsqrt: Unary
  sigmoid: Unary
  softplus: Unary
  softmax: Unary
  neg: Unary
  sum: Reduction
  max: Reduction
  min: Reduction
  mean: Reduction

  customGrad<Xs extends readonly Tensor[]>(
    f: (...xs: [...Xs, Save]) => Differentiable,
  ): (...xs: Xs) => Tensor
  valueAndGrads(f: (...xs: readonly Tensor[]) => Tensor): ValueAndGradients

  readonly io: {
    fromMemory(artifacts: ModelArtifacts): object
    withSaveHandler(handler: (artifacts: ModelArtifacts) => Promise<object>): object
  }
  loadLayersModel(handler: object): Promise<LayersModel>
}
