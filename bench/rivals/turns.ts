/**
 * freshet's turns beside a rival's: `turns.ts DIR`. Builds its index of the arrays in DIR, or takes
 * the one that it saved there, says what recall each effort has, and then, for each line with a
 * recall on its standard input, makes one pass over the queries at the least effort that reaches it;
 * for `upserts BATCH` it replaces vectors. JSON lines: {effort, recall10}, {ready}, then one {effort,
 * recall10, seconds, ownSeconds} or {upsertsPerSecond} a turn.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { present } from '../../src/base/assert.ts'
import { readNpy } from '../index-data.ts'
import { Subject } from '../index-subject.ts'
import { Pauses } from '../pauses.ts'

const rungs = 40
/** Vectors that a turn replaces, and ids from one to the next: a prime. */
const [replaced, stride] = [20_000, 7_919]

const [, , directory = '.'] = process.argv
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

interface Rung {
  readonly effort: number
  readonly recall10: number
}

/** Until everything is found. */
function ladder(subject: Subject): readonly Rung[] {
  const truth = subject.answers({ exact: true })
  const found: Rung[] = []
  for (let rung = 0; rung <= rungs && (found.at(-1)?.recall10 ?? 0) < 0.9999; rung += 1) {
    const effort = rung / rungs
    found.push({ effort, recall10: subject.recall(truth, { effort }) })
  }
  return found
}

async function take(subject: Subject): Promise<void> {
  const items = readNpy(join(directory, 'base.npy'))
  const saved = join(directory, 'freshet.index')
  if (existsSync(saved)) {
    subject.load(saved)
  } else {
    await subject.build(items)
    await subject.save(saved)
  }
}

const [items, queries] = ['base', 'queries'].map((name) => readNpy(join(directory, `${name}.npy`)))
await using subject = new Subject(items, queries, {})
await take(subject)
const found = ladder(subject)
for (const rung of found) say(rung)
say({ ready: true })
using passes = new Pauses()
for await (const line of createInterface({ input: process.stdin })) {
  const [order, batch] = line.split(' ')
  if (order === 'upserts') {
    say({ upsertsPerSecond: upserts(Number(batch)) })
  } else {
    say(pass(Number(line)))
  }
}

function pass(wanted: number): object {
  const rung = found.find(({ recall10 }) => recall10 >= wanted) ?? present(found.at(-1), 'a rung')
  passes.time(() => {
    for (let q = 0; q < queries.n; q += 1) subject.sink += subject.one(q, rung)[0]
  })
  const { ms, ownMs } = passes.last
  return { ...rung, seconds: ms / 1000, ownSeconds: ownMs / 1000 }
}

/** A second of the processor's, of vectors by themselves. */
function upserts(batch: number): number {
  const { n, dim, values } = items
  passes.time(() => {
    for (let done = 0; done < replaced; done += batch) {
      const from = (done * stride) % (n - batch)
      const ids = Int32Array.from({ length: batch }, (_, i) => from + i)
      subject.index.upsert(ids, values.subarray(from * dim, (from + batch) * dim))
    }
  })
  return (replaced * 1000) / passes.last.ownMs
}
