/**
 * A process that does nothing but change an index and save it, over and over, to be killed: vectors
 * are the id and the number of the round in every dimension, so that a reader can tell a whole one.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { PartitionedIndex } from '../../src/ann/partitioned-index.ts'
import { IndexLedger } from '../../src/serving/index-ledger.ts'
import { IndexThread } from '../../src/serving/index-thread.ts'

export const savedShape = { dim: 8, capacityItems: 20_000, maxK: 100, flatBelow: 100 } as const

/** Every coordinate says the same, so half a vector shows. */
export const markedVectors = (ids: Int32Array, round: number): Float32Array =>
  Float32Array.from({ length: ids.length * savedShape.dim }, (_, i) => {
    const id = ids[Math.floor(i / savedShape.dim)]
    return (id + 1) * 100 + round
  })

export async function changeAndSave(
  path: string,
  rounds: number,
  onSaved = (): void => {},
): Promise<void> {
  const thread = new IndexThread()
  const index = new PartitionedIndex({ ...savedShape, background: thread })
  const ledger = new IndexLedger(savedShape.capacityItems)
  const all = Int32Array.from({ length: savedShape.capacityItems }, (_, id) => id)
  for (const id of all) ledger.own(id, `item${id}`)
  index.upsert(all, markedVectors(all, 0))
  for (let round = 1; round <= rounds; round += 1) {
    const progress = { isSaved: false }
    const saved = thread.save(index, path, ledger.shared).then(() => (progress.isSaved = true))
    for (let at = 0; !progress.isSaved; at = (at + 61) % all.length) {
      const some = all.subarray(at, at + 61)
      index.upsert(some, markedVectors(some, round % 100))
      index.remove(some.subarray(0, 1))
      index.maintain(64)
      await nextTurn()
    }
    await saved
    onSaved()
  }
  await thread.close()
}

const [, , path, howLong] = process.argv
if (howLong === 'for ever') {
  await changeAndSave(path, Infinity, () => process.stdout.write('saved\n'))
}
