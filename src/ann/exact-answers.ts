/** Exact answers to queries, in steps: what audits compare with. */
import { flatBlockIds, flatQuery } from '../kernels/flat-kernels.ts'
import { absent } from '../kernels/operands.ts'
import type { Bitmap } from './ann-index.ts'
import { type FlatMemory, queriesPerScan } from './flat-memory.ts'

/** Blocks of a step: some tenths of a millisecond. */
const blocksPerStep = 256
/** A vector scored costs about so much less than one that finds its leaf. */
const scoredPerPlaced = 128

export interface ExactQuestion {
  readonly queries: readonly Float32Array[]
  readonly k: number
  readonly idLimit: number
  /** Ids that may be returned; absent: all. */
  readonly allow?: Bitmap
}

/** The best ids of each query, best first. Each step yields what it cost in vectors placed. */
export function* exactAnswers(
  memory: FlatMemory,
  question: ExactQuestion,
): Generator<number, readonly Int32Array[]> {
  const answers: Int32Array[] = []
  for (let from = 0; from < question.queries.length; from += queriesPerScan) {
    const group = question.queries.slice(from, from + queriesPerScan)
    yield* scan(memory, group, question)
    for (const { ids, record } of memory.auditSlots.slice(0, group.length)) {
      answers.push(Int32Array.from(ids.subarray(0, record[flatQuery.size])))
    }
  }
  return answers
}

function* scan(
  { kernels, layout, auditQueries, auditSlots }: FlatMemory,
  group: readonly Float32Array[],
  { k, idLimit, allow }: ExactQuestion,
): Generator<number, void> {
  for (const [i, query] of group.entries()) {
    const { record, vector, allow: filter } = auditSlots[i]
    vector.set(query)
    record[flatQuery.size] = 0
    record[flatQuery.capacity] = k
    record[flatQuery.allow] = allow === undefined ? absent : filter.address
    if (allow !== undefined) filter.view.set(allow)
  }
  const blocks = idLimit / flatBlockIds
  for (let block = 0; block < blocks; block += blocksPerStep) {
    const end = Math.min(block + blocksPerStep, blocks)
    kernels.flatScanRows(layout, auditQueries, group.length, block, end)
    yield Math.ceil(((end - block) * flatBlockIds * group.length) / scoredPerPlaced)
  }
  kernels.flatSort(auditQueries, group.length)
}
