/** The admission policy that a table declares: a new one is one more case here. */
import { unreachable } from '../../base/assert.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import type { AdmissionSpec, TableSpec } from '../table-spec.ts'
import type { Admission } from './admission.ts'
import { CountingBloomAdmission } from './counting-bloom-admission.ts'
import { MinCountAdmission } from './min-count-admission.ts'
import { ProbabilisticAdmission } from './probabilistic-admission.ts'

/** The policy of a table; undefined where every key earns a row. */
export function admissionOf(
  { admission, seed = 0 }: Pick<TableSpec, 'admission' | 'seed'>,
  options: KernelOptions = {},
): Admission | undefined {
  if (admission === undefined || admission.kind === 'always') return undefined
  return policyOf(admission, seed, options)
}

function policyOf(
  spec: Exclude<AdmissionSpec, { kind: 'always' }>,
  seed: number,
  options: KernelOptions,
): Admission {
  switch (spec.kind) {
    case 'minCount':
      return new MinCountAdmission(spec, options)
    case 'countingBloom':
      return new CountingBloomAdmission(spec)
    case 'probabilistic':
      return new ProbabilisticAdmission(spec, seed)
    default:
      return unreachable(spec)
  }
}
