/** How the rows of a table begin and learn: the initializers and optimizers of `model.tables`. */
import * as z from 'zod'

const std = z.number().min(0).default(0.1).describe('standard deviation')
const mean = z.number().default(0)

export const initializer = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('zeros') }),
    z.strictObject({ kind: z.literal('constant'), value: z.number() }),
    z.strictObject({ kind: z.literal('uniform'), min: z.number(), max: z.number() }),
    z.strictObject({ kind: z.literal('normal'), mean, std }),
    z.strictObject({
      kind: z.literal('truncatedNormal'),
      mean,
      std: std.describe('before the cut'),
    }),
    z.strictObject({
      kind: z.literal('fanOut'),
      scale: z.number().positive().default(1).describe('the variance is scale / dim'),
      distribution: z.enum(['uniform', 'normal', 'truncatedNormal']).default('truncatedNormal'),
    }),
  ])
  .prefault({ kind: 'normal' })
  .describe('vector of a key without a row, seeded by the key')

export const rate = (value: number) =>
  z.number().positive().default(value).describe('learning rate')
export const fraction = (value: number) => z.number().min(0).lt(1).default(value)
const initialAccumulator = z
  .number()
  .min(0)
  .default(0.1)
  .describe('what every accumulator starts at')

export const adagradOptions = {
  rate: rate(0.1),
  initialAccumulator,
  epsilon: z.number().min(0).default(1e-7).describe('added under the root'),
}

const common = {
  gradients: z
    .enum(['sum', 'mean'])
    .default('sum')
    .describe('apply the gradient of the batch’s summed loss, or of its mean'),
  l2: z
    .number()
    .min(0)
    .exactOptional()
    .describe('penalty l2 / 2 |w|² in every step that a row takes part in; absent: 0'),
  clipNorm: z
    .number()
    .positive()
    .exactOptional()
    .describe('longest gradient of a row, a longer one is scaled down; absent: any'),
  clipValue: z
    .number()
    .positive()
    .exactOptional()
    .describe('largest element of a gradient, either way, cut before its length; absent: any'),
}

const adamOptions = {
  ...common,
  rate: rate(0.001),
  beta1: fraction(0.9).describe('what is kept of the mean gradient at each step'),
  beta2: fraction(0.999).describe('what is kept of the mean square at each step'),
  epsilon: z.number().positive().default(1e-7).describe('added beside the root'),
}

const momentum = fraction(0.9).describe('what is kept of the last step')
const threshold = z.number().min(0)

export const decayOptions = {
  decay: z.number().gt(0).max(1).default(0.9).describe('factor on the accumulator'),
  decaySteps: z.int().min(1).default(100_000).describe('steps between two decays'),
}

export const clippyOptions = {
  relativeThreshold: threshold.default(0.1).describe('most a weight moves, relative to itself'),
  accumulatorThreshold: threshold
    .default(0)
    .describe('and by this over the root of its accumulator'),
  absoluteThreshold: threshold.default(0.01).describe('and in itself'),
}

export const tableOptimizer = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('sgd'), ...common, rate: rate(0.01) }),
    z.strictObject({
      kind: z.literal('momentum'),
      ...common,
      rate: rate(0.01),
      momentum,
      nesterov: z.boolean().default(false).describe('step from where momentum leads'),
    }),
    z.strictObject({ kind: z.literal('adagrad'), ...adagradOptions, ...common }),
    z.strictObject({
      kind: z.literal('adagradDecay'),
      ...adagradOptions,
      ...common,
      ...decayOptions,
    }),
    z.strictObject({ kind: z.literal('adam'), ...adamOptions }),
    z.strictObject({ kind: z.literal('lazyAdam'), ...adamOptions }),
    z.strictObject({
      kind: z.literal('rmsprop'),
      ...common,
      rate: rate(0.001),
      rho: fraction(0.9).describe('what is kept of the mean square at each step'),
      momentum: fraction(0).describe('what is kept of the last step; 0: none'),
      centered: z.boolean().default(false).describe('divide by the deviation of the gradient'),
      epsilon: z.number().positive().default(1e-7).describe('added under the root'),
    }),
    z.strictObject({
      kind: z.literal('ftrl'),
      ...common,
      rate: rate(0.1),
      initialAccumulator: z.number().positive().default(0.1).describe('of squared gradients'),
      l1: z.number().min(0).default(0).describe('makes weights exactly 0 that are not worth it'),
      beta: z.number().min(0).default(0).describe('makes early steps smaller'),
    }),
    z.strictObject({
      kind: z.literal('clippyAdagrad'),
      ...adagradOptions,
      ...common,
      ...clippyOptions,
    }),
  ])
  .prefault({ kind: 'adagrad' })
  .describe('how rows of the table learn')
