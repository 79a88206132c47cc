/** What the module exports: one line for each file of kernels. */
export { useScratch } from './scratch'
export { flatEncodeQueries, flatRescore, flatScanCodes, flatScanRows, flatSort, flatUpsert } from './flat-scan'
export { addScaled, exp, largestSquares, log, scale, sum, sumOfSquares } from './elements'
export {
  activationBackward,
  biasActivation,
  normalizeRows,
  normalizeRowsBackward,
  sumColumns,
} from './layers'
export { crossBackward, crossRows } from './cross'
export { dropout } from './dropout'
export { layerNorm, layerNormBackward, sumProducts } from './layer-norm'
export { matmul, matmulTransposedA, matmulTransposedB } from './matmul'
export { adagrad, adagradDecay, adam, clippyAdagrad, ftrl, momentum, rmsprop } from './optimizers'
export {
  bagWeightGradients,
  gatherRows,
  maxBags,
  maxBagsBackward,
  poolBags,
  poolBagsBackward,
  scatterAddRows,
} from './rows'
export { boundBlocks, countAbove, packCandidates, rankExcluded } from './rank'
export { rankTargets } from './rank-scan'
export { cuckooErase, cuckooFind, cuckooInsert } from './cuckoo'
export { dedupeKeys } from './dedupe'
export { hashKeys } from './hash'
export { tableAccumulate, tableAssign, tableErase, tableGather, tableInsert } from './table-rows'
export { tablePackPending, tablePackStaged, tableReadRecords, tableWriteRecords } from './table-records'
export { tableDigest, tableNextRows, tableTakeChanged } from './table-scan'
export { tableRowsBelow, tableScoreBins, tableScoreHistogram, tableUnchanged } from './table-scores'
export { tableUpdate } from './table-update'
export { clear, packRows, runPrograms, sumParts, transposeRows } from './programs'
export { softmaxGroups } from './softmax-groups'
export { treeAssign } from './tree-assign'
export {
  treeCodeSums,
  treeEncodeLeaf,
  treeLeafSums,
  treeMembers,
  treePlace,
  treeRefresh,
  treeRemove,
  treeSums,
  treeTails,
} from './tree-leaves'
export {
  treeChoose,
  treeCountBits,
  treeFinish,
  treePrepare,
  treeReach,
  treeScan,
} from './tree-query'
