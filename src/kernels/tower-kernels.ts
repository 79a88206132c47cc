/**
 * The kernels of the towers: sequences of row kernels in one call, and the sampled softmax in
 * tiles. What they are told stands in words of memory (i32, addresses too; f32 where it says so).
 */
import type { Address, Split } from './operands.ts'

/** What an instruction of a program does: the kernel of this name, over the program's rows. */
export const operationNames = [
  'matmul',
  'matmulTransposedA',
  'packRows',
  'biasActivation',
  'activationBackward',
  'sumColumns',
  'normalizeRows',
  'normalizeRowsBackward',
  'addScaled',
  'scale',
  'transposeRows',
  'sumParts',
  'crossRows',
  'crossBackward',
  'layerNorm',
  'layerNormBackward',
  'sumProducts',
  'dropout',
] as const
export type Operation = (typeof operationNames)[number]

/** The word that stands for it. */
export const operationCode = (name: Operation): number => operationNames.indexOf(name)

/** The operand that is an f32, where one is. */
export const floatOperand: Partial<Record<Operation, number>> = {
  normalizeRows: 4,
  addScaled: 2,
  scale: 2,
  crossRows: 6,
  layerNorm: 7,
  dropout: 4,
}

/** Words of a program: rows, rows per pass, number of instructions, address of the first. */
export const programWords = 4
/** Words of an instruction: operation, elements of its range per row, operands. */
export const instructionWords = 16

/**
 * Words of a softmax job. B queries, C columns (a multiple of 16; those that are filled up have
 * the correction -Infinity), d floats per vector.
 */
export const softmaxWord = {
  batch: 0,
  columns: 1,
  dim: 2,
  /** Rows whose part of the candidates' gradients is summed on its own. */
  groupRows: 3,
  /** Queries whose scores are held at a time; leaves no trace in the bits. */
  tileRows: 4,
  /** f32: 1 / temperature. */
  perTemperature: 5,
  /**
   * B x d, C x d, and the candidates once more as `packRows` leaves them, in panels of d rows or,
   * with popularity, d + 1.
   */
  queries: 6,
  candidates: 7,
  panels: 8,
  /** B. */
  targets: 9,
  weights: 10,
  /** C, and B for the queries' own positives. */
  corrections: 11,
  targetCorrections: 12,
  /** C and B, or 0; popularity is also the last row of each panel. */
  popularity: 13,
  popularityWeights: 14,
  /** A bit per column, `maskWords` words per row, low bits first; masks 0: nothing is masked. */
  masks: 15,
  maskWords: 16,
  /** Output: B each, the second for the kernel's own use. */
  losses: 17,
  shares: 18,
  /** Output: B x d, and B where there is popularity. */
  queryGradients: 19,
  popularityWeightGradients: 20,
  /** Output: groups x C x d, to be summed over the groups. */
  parts: 21,
  /**
   * Working space, `tileBytes` for each thread: tileRows x H, up to a multiple of 4, times
   * (C + 16 + d + 1) floats.
   */
  tiles: 22,
  tileBytes: 23,
  /** Most negatives of a row, the hardest; 0: all. */
  hardNegatives: 24,
  loss: 25,
  /** Vectors of a query, H: `queries` and `queryGradients` have B x H rows. */
  heads: 26,
} as const
export const softmaxWords = 32

/** Word `loss`. */
export const lossCode = { softmax: 0, sigmoid: 1, bpr: 2 } as const

export interface TowerKernels {
  /** `count` programs, their rows numbered through: [from, to) of all of them. */
  runPrograms: Split<[programs: Address, count: number]>
  /** out[j x stride + i] = x[i x columns + j]. Range: rows i. */
  transposeRows: Split<[out: Address, stride: number, x: Address, columns: number]>
  /**
   * Row i of x becomes column i % 8 of panel i / 8 of out, a panel having `depth` rows of 8 floats:
   * how a product likes to read its right side. Range: rows i.
   */
  packRows: Split<[out: Address, depth: number, x: Address, columns: number]>
  /** out = 0; a typed array's fill is slow in shared memory. Range: elements. */
  clear: Split<[out: Address]>
  /** out[i] = parts[i] + parts[length + i] + ..., `count` of them. Range: elements. */
  sumParts: Split<[out: Address, parts: Address, length: number, count: number]>
  /**
   * Softmax cross-entropy and its gradients for the job at this address. With q = query /
   * temperature, t the row's target and w its weight:
   *
   *     logit[j] = q . c[j] + (j == t ? targetCorrections[b] : corrections[j])
   *              + popularityWeights[b] popularity[j],         -Infinity where masked
   *     losses[b] = w (log(sum exp logit) - logit[t])                                    softmax
   *               = w (softplus(-logit[t]) + mean softplus(logit[j]))                    sigmoid
   *               = w mean softplus(logit[j] - logit[t])                                 bpr
   *
   * with means over the j that are neither t nor masked and softplus x = log(1 + e^x); and
   * gradients of the sum of losses. Of several heads the one with the largest q . c[j] stands for
   * the query, of equal ones the first, and gets the gradient. With `hardNegatives` all but so many
   * of the largest logits beside the target's are masked; of equal ones the first stay. A row
   * without target (-1) or weight gives zeros. A row's own target must not be masked. Range: rows;
   * a share does the groups whose first row is in it.
   */
  softmaxGroups: Split<[job: Address]>
}
