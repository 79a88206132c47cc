/**
 * What an index lives through: every vector drifts, half of the clusters dissolve, the catalogue
 * grows from nothing and shrinks again, the process restarts. Recall is compared with exact
 * answers, and with an index that is built of the same vectors alone.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'

import { collectGarbage } from './collect-garbage.ts'
import type { Points } from './index-data.ts'
import { rounded, type Subject } from './index-subject.ts'

const waves = 10
/** Upserts between two slices of maintenance, and vectors in the slice. */
const atATime = 64
/** The catalogue is looked at whenever it has grown or shrunk by this factor, from this size on. */
const [lookFactor, smallest] = [1.5, 1_000]

/** Until what was given back is the system's again, milliseconds. */
const leaveMs = 2_000

export interface DriftFigures {
  /** Right after the last wave, and of the fresh index, at its effort. */
  readonly after: number
  readonly fresh: number
  /** At its own effort, once it has come to rest. */
  readonly settled: number
}

/**
 * Every vector replaced, a tenth at a time, with as much maintenance as vectors and a search with
 * each slice; and the same vectors in an index built of them alone. Both at the effort that the fresh one chooses.
 */
export async function measureDrift(
  subject: Subject,
  moved: Points,
  queries: Points,
): Promise<DriftFigures> {
  const { n, dim, values } = moved
  // Who asks has moved on before the vectors have.
  subject.ask(queries)
  for (let wave = 0; wave < waves; wave += 1) {
    for (let id = wave, count = 1; id < n; id += waves, count += 1) {
      subject.upsert(Int32Array.of(id), values.subarray(id * dim, (id + 1) * dim))
      if (count % atATime !== 0) continue
      await between(subject, id)
    }
  }
  await using fresh = subject.sibling(moved, queries)
  await fresh.build(moved)
  const truth = fresh.answers({ exact: true })
  const effort = fresh.stats.tree?.effort ?? 1
  const after = subject.recall(truth, { effort })
  await subject.settle()
  return { after, fresh: fresh.recall(truth, { effort }), settled: subject.recall(truth) }
}

/**
 * Of an empty one: from nothing to all items and back to a thousand, with as much maintenance as
 * vectors and a search with each slice. Nobody waits for the index to come to rest before it is
 * looked at.
 */
export async function measureGrowth(subject: Subject, items: Points): Promise<object> {
  const sizes: number[] = []
  for (let size = smallest; size < items.n; size *= lookFactor) sizes.push(Math.round(size))
  const looks: Look[] = []
  let size = 0
  for (const next of [...sizes, items.n]) {
    for (; size < next; size += atATime) {
      const to = Math.min(next, size + atATime)
      const ids = Int32Array.from({ length: to - size }, (_, i) => size + i)
      subject.upsert(ids, items.values.subarray(size * items.dim, to * items.dim))
      await between(subject, size)
    }
    size = next
    looks.push(look(subject))
  }
  await subject.settle()
  const settled = look(subject)
  for (const next of sizes.toReversed()) {
    for (; size > next; size -= atATime) {
      const from = Math.max(next, size - atATime)
      subject.index.remove(Int32Array.from({ length: size - from }, (_, i) => from + i))
      await between(subject, size)
    }
    size = next
    looks.push(look(subject))
  }
  await subject.settle()
  // The thread of the memory that was left ends.
  await pause(leaveMs)
  const leastRecall = Math.min(...looks.map(({ recall10 }) => recall10))
  return { leastRecall, looks, settled, afterwards: look(subject), pauses: subject.pauses() }
}

/** A slice of maintenance, and one query, another for another `at`. */
async function between(subject: Subject, at: number): Promise<void> {
  subject.maintain(atATime)
  subject.sink += subject.one(Math.floor(at / atATime) % 997)[0] & 1
  await nextTurn()
}

interface Look {
  readonly items: number
  readonly kind: string
  readonly recall10: number
  readonly residentMiB: number
}

function look(subject: Subject): Look {
  const { kind, items } = subject.stats
  const recall10 = rounded(subject.recall(subject.answers({ exact: true })))
  return { items, kind, recall10, residentMiB: residentMiB() }
}

/** Of the whole process: the points too, and other indexes that were not yet let go of. */
function residentMiB(): number {
  collectGarbage()
  return Math.round(process.memoryUsage.rss() / 2 ** 20)
}

/** The index saved while it stands, and taken up by another. */
export async function measureRestart(subject: Subject, truth: Int32Array): Promise<object> {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-bench-'))
  const path = join(directory, 'live.index')
  try {
    const saveSeconds = await subject.save(path)
    const { size } = statSync(path)
    await using again = subject.sibling()
    const loadSeconds = again.load(path)
    return {
      saveSeconds: rounded(saveSeconds),
      loadSeconds: rounded(loadSeconds),
      fileBytes: size,
      recall10: rounded(again.recall(truth)),
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}
