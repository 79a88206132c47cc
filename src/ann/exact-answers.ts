/** Exact answers to queries: what audits compare with. */
import { flatBlockIds, flatQuery } from '../kernels/flat-kernels.ts'
import { absent } from '../kernels/operands.ts'
import { type FlatMemory, queriesPerScan } from './flat-memory.ts'

/** Of every audit. */
export const auditedK = 10
/** Blocks of a step: some tenths of a millisecond. */
const blocksPerStep = 256
/** A vector scored costs about so much less than one that finds its leaf. */
const scoredPerPlaced = 128

/** The best ids of each query, best first. Each step yields what it cost in vectors placed. */
export function* exactAnswers(
  memory: FlatMemory,
  asked: { readonly queries: readonly Float32Array[]; readonly idLimit: number },
): Generator<number, readonly Int32Array[]> {
  const answers: Int32Array[] = []
  for (let from = 0; from < asked.queries.length; from += queriesPerScan) {
    const group = asked.queries.slice(from, from + queriesPerScan)
    yield* scan(memory, group, asked.idLimit / flatBlockIds)
    for (const { ids, record } of memory.auditSlots.slice(0, group.length)) {
      answers.push(Int32Array.from(ids.subarray(0, record[flatQuery.size])))
    }
  }
  return answers
}

function* scan(
  { kernels, layout, auditQueries, auditSlots }: FlatMemory,
  group: readonly Float32Array[],
  blocks: number,
): Generator<number, void> {
  for (const [i, query] of group.entries()) {
    const { record, vector } = auditSlots[i]
    vector.set(query)
    record[flatQuery.size] = 0
    record[flatQuery.allow] = absent
    record[flatQuery.capacity] = auditedK
  }
  for (let block = 0; block < blocks; block += blocksPerStep) {
    const end = Math.min(block + blocksPerStep, blocks)
    kernels.flatScanRows(layout, auditQueries, group.length, block, end)
    yield Math.ceil(((end - block) * flatBlockIds * group.length) / scoredPerPlaced)
  }
  kernels.flatSort(auditQueries, group.length)
}
