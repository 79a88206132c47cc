/**
 * The kernels in plain TypeScript: their specification, their oracle in tests, and what runs where
 * WebAssembly SIMD is missing. Written to be read; every rounding is where the kernel has it, so
 * that the two agree to the bit.
 */
import type { DenseKernels } from '../dense-kernels.ts'
import { referenceBagKernels, referenceMaxBagKernels } from './reference-bags.ts'
import { referenceCrossKernels } from './reference-cross.ts'
import { referenceCuckooKernels } from './reference-cuckoo.ts'
import { referenceDropoutKernels } from './reference-dropout.ts'
import { referenceElementKernels } from './reference-elements.ts'
import { referenceFlatKernels } from './reference-flat.ts'
import { referenceKeyKernels } from './reference-hash.ts'
import { referenceLayerNormKernels } from './reference-layer-norm.ts'
import { referenceLayerKernels } from './reference-layers.ts'
import { referenceMatmulKernels } from './reference-matmul.ts'
import { referenceOptimizerKernels } from './reference-optimizers.ts'
import { referenceRankKernels } from './reference-rank.ts'
import { referenceRowKernels } from './reference-rows.ts'
import { referenceTableRecordKernels } from './reference-table-records.ts'
import { referenceTableKernels } from './reference-table-rows.ts'
import { referenceTableScanKernels } from './reference-table-scan.ts'
import { referenceTableScoreKernels } from './reference-table-scores.ts'
import { referenceTableUpdateKernels } from './reference-table-update.ts'
import { referenceTowerKernels } from './reference-towers.ts'
import { referenceTreeLeafKernels } from './reference-tree-leaves.ts'
import { referenceTreeQueryKernels } from './reference-tree-query.ts'

/** Every kernel there is: `kernels.ts` checks it against the interface. */
export function referenceKernels(memory: WebAssembly.Memory, thread: number) {
  const dense: DenseKernels = {
    ...referenceMatmulKernels(memory),
    ...referenceLayerKernels(memory),
    ...referenceCrossKernels(memory),
    ...referenceLayerNormKernels(memory),
    ...referenceDropoutKernels(memory),
    ...referenceRowKernels(memory),
    ...referenceBagKernels(memory),
    ...referenceMaxBagKernels(memory),
    ...referenceElementKernels(memory),
    ...referenceOptimizerKernels(memory),
  }
  return {
    ...dense,
    ...referenceTowerKernels(memory, thread, dense),
    ...referenceFlatKernels(memory),
    ...referenceRankKernels(memory),
    ...referenceTreeLeafKernels(memory),
    ...referenceTreeQueryKernels(memory),
    ...referenceKeyKernels(memory),
    ...referenceCuckooKernels(memory),
    ...referenceTableKernels(memory),
    ...referenceTableUpdateKernels(memory),
    ...referenceTableRecordKernels(memory),
    ...referenceTableScanKernels(memory),
    ...referenceTableScoreKernels(memory),
  }
}
