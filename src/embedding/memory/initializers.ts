/** Initial vectors as the kernels know them: `assembly/initializer.ts` makes them from the key. */
import { unreachable } from '../../base/assert.ts'
import { initializerCode } from '../../kernels/table-kernels.ts'
import type { InitializerSpec } from '../table-spec.ts'

/** The kind, and its two numbers: a + b x, with x constant 0, uniform in [0, 1) or normal. */
export interface Initializer {
  readonly code: number
  readonly a: number
  readonly b: number
}

/**
 * What is left of a deviation of 1 when the sum of twelve bytes that stands for a normal number is
 * cut at 2; of a true normal number it would be .8796.
 */
const truncatedDeviation = 0.886_233_086_5

export function initializerOf(spec: InitializerSpec, dim: number): Initializer {
  switch (spec.kind) {
    case 'zeros':
      return { code: initializerCode.constant, a: 0, b: 0 }
    case 'constant':
      return { code: initializerCode.constant, a: spec.value, b: 0 }
    case 'uniform':
      return { code: initializerCode.uniform, a: spec.min, b: spec.max - spec.min }
    case 'normal':
    case 'truncatedNormal':
      return { code: initializerCode[spec.kind], a: spec.mean, b: spec.std }
    case 'fanOut': {
      const std = Math.sqrt(spec.scale / dim)
      const { distribution } = spec
      if (distribution === 'uniform') return initializerOf(symmetric(std * Math.sqrt(3)), dim)
      const cut = distribution === 'truncatedNormal' ? truncatedDeviation : 1
      return { code: initializerCode[distribution], a: 0, b: std / cut }
    }
    default:
      return unreachable(spec)
  }
}

const symmetric = (limit: number): InitializerSpec => ({ kind: 'uniform', min: -limit, max: limit })
