/**
 * The `model` part of the configuration: what must agree in every process, because the same log
 * and the same values here give the same bits. Each option is declared once, with its type,
 * default, unit and meaning; the JSON schema and the environment variables are derived from this
 * file.
 */
import * as z from 'zod'

import { mostHeads } from '../../model/plan.ts'
import { dim, features, name } from './config-features-schema.ts'
import { admission, restrict } from './config-restrict-schema.ts'
import {
  adagradOptions,
  clippyOptions,
  decayOptions,
  fraction,
  initializer,
  rate,
  tableOptimizer,
} from './config-rows-schema.ts'

const whole = z.int().min(0)
const milliseconds = z.number().min(0).meta({ unit: 'ms' })

const table = z.strictObject({
  name,
  dim: dim.describe('floats per vector'),
  capacityRows: z
    .int()
    .min(1)
    .max(2 ** 28)
    .describe('rows that it may hold; reserved at start'),
  initializer,
  optimizer: tableOptimizer,
  maxNorm: z
    .number()
    .positive()
    .exactOptional()
    .describe('longest vector, initial ones included; a longer one is scaled down; absent: any'),
  admission: admission.exactOptional(),
  restrict: restrict.exactOptional().describe('restricts itself when it fills; absent: refuses'),
})

const activation = z.enum(['linear', 'relu', 'gelu', 'tanh']).default('relu')
const layer = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('dense'),
    units: z.int().min(1).max(4096),
    activation,
  }),
  z.strictObject({
    kind: z.literal('residual'),
    units: z.int().min(1).max(4096),
    activation,
  }),
  z.strictObject({
    kind: z.literal('cross'),
    projectionDim: z
      .int()
      .min(1)
      .max(4096)
      .exactOptional()
      .describe('rank of its matrix; absent: full'),
    diagScale: z.number().min(0).default(0).describe('added to the diagonal of its matrix'),
  }),
  z.strictObject({ kind: z.literal('layerNorm') }),
  z.strictObject({
    kind: z.literal('dropout'),
    rate: z.number().min(0).lt(1).default(0.1).describe('share that is 0 in training'),
  }),
])

const tower = z.strictObject({
  features: features.min(1),
  combine: z.enum(['concat', 'sum']).default('concat').describe('features side by side, or added'),
  layers: z.array(layer).max(16).default([]),
  layersModel: z
    .string()
    .min(1)
    .max(4096)
    .exactOptional()
    .describe('path of a TensorFlow.js model.json in the place of `layers`; needs `engine: tfjs`'),
  normalize: z.boolean().default(false).describe('L2 normalisation of the output'),
})

const queryTower = tower.extend({
  heads: z
    .int()
    .min(1)
    .max(mostHeads)
    .exactOptional()
    .describe('vectors of a query, the best of which counts; absent: one'),
})

const score = z
  .strictObject({
    temperature: z.number().positive().default(1).describe('divides q . c'),
    popularity: z
      .strictObject({
        halfLifeMs: milliseconds.default(3_600_000).describe('of the decayed count of an item'),
        smoothing: z
          .number()
          .positive()
          .default(0.2)
          .describe('added to the count before the logarithm'),
        initialWeight: z
          .number()
          .default(1)
          .describe('weight of log popularity before any learning'),
        features: features.default([]).describe('learned offsets to the weight: tables of dim 1'),
      })
      .exactOptional()
      .describe('popularity as a fact in the score; absent: none'),
  })
  .prefault({})

const loss = z
  .strictObject({
    reduction: z
      .enum(['mean', 'sum'])
      .exactOptional()
      .describe('of a batch, for dense weights and tables whose gradients are mean; absent: mean'),
    kind: z
      .enum(['softmax', 'sigmoid', 'bpr'])
      .exactOptional()
      .describe('absent: softmax over all negatives at once'),
    hardNegatives: z
      .int()
      .min(1)
      .max(65_536)
      .exactOptional()
      .describe('only so many negatives of a positive count, the hardest; absent: all'),
    correction: z
      .enum(['logq', 'inclusion', 'none'])
      .default('inclusion')
      .describe('sampling correction of every column'),
    inBatch: z.boolean().default(true).describe('the other targets of the batch are negatives'),
    extraNegatives: whole.max(65_536).default(500).describe('draws from the active catalogue'),
    negativesAlpha: z
      .number()
      .min(0)
      .max(1)
      .exactOptional()
      .describe('power of an item’s interactions by which it is drawn; absent: 0, uniformly'),
    activeWindowMs: milliseconds
      .default(86_400_000)
      .describe('an item is active when described or interacted with within it'),
    maskSeen: z
      .boolean()
      .default(true)
      .describe('what the user has seen is no negative; repeats teach nothing'),
    newItemPull: z
      .number()
      .min(0)
      .default(0)
      .describe('first interaction of an item known by its id alone pulls it alone; 0: off'),
    l2: z.number().min(0).default(0).describe('penalty on both towers’ outputs, per example'),
    typeWeights: z
      .record(z.string().min(1).max(64), z.number().min(0))
      .default({ other: 1 })
      .describe('weight of an example by interaction type; `other`: every type not named'),
    negativeTypes: z
      .record(z.string().min(1).max(64), z.number().min(0))
      .exactOptional()
      .describe('types that speak against their item, and how much; absent: none'),
  })
  .prefault({})

const denseOptimizer = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('adagrad'), ...adagradOptions }),
    z.strictObject({
      kind: z.literal('adam'),
      rate: z.number().positive().default(0.003),
      beta1: z.number().min(0).lt(1).default(0.9),
      beta2: z.number().min(0).lt(1).default(0.99),
      epsilon: z.number().positive().default(1e-7),
    }),
    z.strictObject({ kind: z.literal('sgd'), rate: rate(0.01) }),
    z.strictObject({
      kind: z.literal('momentum'),
      rate: rate(0.01),
      momentum: fraction(0.9).describe('what is kept of the last step'),
      nesterov: z.boolean().default(false).describe('step from where momentum leads'),
    }),
    z.strictObject({ kind: z.literal('adagradDecay'), ...adagradOptions, ...decayOptions }),
    z.strictObject({
      kind: z.literal('rmsprop'),
      rate: rate(0.001),
      rho: fraction(0.9).describe('what is kept of the mean square at each step'),
      epsilon: z.number().positive().default(1e-7).describe('added under the root'),
    }),
    z.strictObject({ kind: z.literal('clippyAdagrad'), ...adagradOptions, ...clippyOptions }),
  ])
  .prefault({ kind: 'adam' })
  .describe('how dense weights learn, from the gradients that `loss.reduction` says')

const schedule = z
  .strictObject({
    warmupSteps: whole.default(0).describe('batches in which rates rise from 0'),
    decay: z
      .enum(['none', 'linear', 'cosine', 'exponential', 'inverseSqrt'])
      .default('none')
      .describe('how rates fall after that'),
    decaySteps: z
      .int()
      .min(1)
      .default(100_000)
      .describe('batches down to the floor; `exponential`: in which rates halve'),
    floor: z.number().min(0).max(1).default(0.1).describe('share of the rate that is kept'),
    of: z.enum(['dense', 'all']).default('dense').describe('dense weights alone, or rows as well'),
  })
  .exactOptional()
  .describe('learning rates over the batches; absent: they stay as they are')

const facts = z
  .strictObject({
    maxItems: z
      .int()
      .min(1)
      .max(2 ** 24)
      .default(200_000)
      .describe('items known; beyond, the least recent leave'),
    maxUsers: z
      .int()
      .min(1)
      .max(2 ** 23)
      .default(500_000)
      .describe('users known; beyond, the least active leave'),
    historyLength: z
      .int()
      .min(1)
      .max(1000)
      .default(20)
      .describe('distinct items kept per user, newest first'),
    seenPerUser: z
      .int()
      .min(1)
      .max(16_384)
      .default(500)
      .describe('items per user that are not shown again'),
    maxHistoryEntries: whole
      .max(2 ** 28)
      .default(8_000_000)
      .describe('entries of all histories together; beyond, the least active user leaves'),
    userRetentionMs: milliseconds
      .default(7_776_000_000)
      .describe('a user without an event for this long leaves'),
    dedupeWindowMs: milliseconds.default(600_000).describe('within it, an event id counts once'),
    dedupeMaxIds: z
      .int()
      .min(1)
      .max(2 ** 24)
      .default(1_000_000)
      .describe('event ids remembered at most'),
    futureSkewMs: milliseconds.default(300_000).describe('a timestamp further ahead is rejected'),
    maxLateMs: milliseconds
      .default(86_400_000)
      .describe('events later than this are folded, not trained'),
  })
  .prefault({})
  .describe('bounds of the facts fold')

const batch = z
  .strictObject({
    maxExamples: z
      .int()
      .min(1)
      .max(65_536)
      .default(1024)
      .describe('a batch is cut at this many examples'),
    maxAgeMs: milliseconds.default(50).describe('or when its first example has waited this long'),
  })
  .prefault({})

const replay = z
  .strictObject({
    examples: z
      .int()
      .min(1)
      .max(65_536)
      .default(256)
      .describe('drawn for each batch and trained on once more'),
    reservoirExamples: z
      .int()
      .min(1)
      .max(131_072)
      .default(10_000)
      .describe('the newest, so many of them, are drawn from; checkpoints have them'),
  })
  .exactOptional()
  .describe('examples of before beside every batch; absent: each is trained on once')

const evaluation = z
  .strictObject({
    everyNth: whole
      .default(4)
      .describe('every nth example is ranked before it is trained on; 0: none'),
    blockExamples: z
      .int()
      .min(1)
      .max(65_536)
      .default(1)
      .describe('taken so many at a time: one block of every `everyNth`; see configs/shop.yaml'),
    itemsPerExample: whole
      .min(1)
      .exactOptional()
      .describe('fewer blocks: so many items an example'),
    warmupEvents: whole.default(20_000).describe('events at the start that are not counted'),
    windowExamples: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(2_000)
      .describe('ranked examples in the live metrics'),
  })
  .prefault({})
  .describe('progressive (test-then-train) evaluation')

const guard = z
  .strictObject({
    deviations: z
      .number()
      .min(0)
      .exactOptional()
      .describe('standard deviations of the loss above its mean that are accepted; absent: 8'),
    margin: z.number().min(0).exactOptional().describe('and this much more, in nats; absent: 1'),
    warmupBatches: whole.exactOptional().describe('before anything is measured; absent: 100'),
    repeats: z
      .int()
      .min(1)
      .exactOptional()
      .describe('refused batches in a row, or with broken rows, before a rollback; absent: 5'),
    rowNormFactor: z
      .number()
      .min(1)
      .exactOptional()
      .describe('a row this many times as long as the longest use to be is broken; absent: 16'),
    holdMs: milliseconds
      .exactOptional()
      .describe('losses above the band are refused for so long, in event time; absent: 2 hours'),
    holdBatches: z.int().min(1).exactOptional().describe('or for so many batches; absent: 10000'),
  })
  .exactOptional()
  .describe('which batches may change the model; absent: its defaults')

const offline = z
  .strictObject({
    epochs: z
      .int()
      .min(1)
      .max(1000)
      .default(1)
      .describe('passes over the training part, each in its own seeded order'),
    finalRate: z
      .number()
      .min(0)
      .max(1)
      .exactOptional()
      .describe(
        'share of every learning rate left at the end; falls to it in a line from 1; absent: 1',
      ),
  })
  .prefault({})
  .describe('`freshet evaluate` alone')

export const modelSchema = z.strictObject({
  name,
  engine: z
    .enum(['wasm', 'tfjs', 'auto'])
    .exactOptional()
    .describe(
      'what computes the towers; absent: wasm, the built-in engine; auto: tfjs where it has a GPU',
    ),
  seed: whole.default(1).describe('of every initial value and draw'),
  dim: dim.default(32).describe('floats of both towers’ outputs'),
  facts,
  tables: z.array(table).min(1).max(64),
  towers: z.strictObject({ query: queryTower, candidate: tower }),
  score,
  loss,
  denseOptimizer,
  schedule,
  batch,
  replay,
  evaluation,
  guard,
  offline,
})

export type ModelConfig = z.infer<typeof modelSchema>
