import { setTimeout as pause } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { PartitionedIndex } from '../../src/ann/partitioned-index.ts'
import { IndexThread } from '../../src/serving/index-thread.ts'
import { range, vectors } from '../contract/ann-index.ts'

const dim = 9
const capacityItems = 6_000

/** An index with a thread of its own. */
class Bench implements AsyncDisposable {
  readonly thread = new IndexThread()
  readonly index = new PartitionedIndex({
    dim,
    exactDims: 1,
    capacityItems,
    maxK: 100,
    flatBelow: 100,
    background: this.thread,
  })

  constructor() {
    this.index.upsert(range(4_000), vectors(1, 4_000, dim))
  }

  /** Maintains until there is nothing left to do, with `meanwhile` between the steps. */
  async settle(meanwhile: (step: number) => void = () => {}): Promise<void> {
    for (let step = 0; ; step += 1) {
      meanwhile(step)
      const done = this.index.maintain(64)
      if (done === 0 && !this.thread.isBusy) return
      await pause(0)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.thread.close()
  }
}

function expectWhole(index: PartitionedIndex): void {
  const queries = vectors(9, 30, dim)
  const exact = index.search(queries, 50, { exact: true })
  expect(index.search(queries, 50, { effort: 1 })).toEqual(exact)
}

test('what changes, comes and goes while the thread grows a tree is in it or out of it', async () => {
  await using bench = new Bench()
  const { index } = bench
  let steps = 0
  await bench.settle((step) => {
    if (index.stats().kind === 'tree') return
    steps += 1
    const some = range(40).map((i) => (step * 40 + i * 13) % capacityItems)
    index.upsert(some, vectors(100 + step, some.length, dim))
    index.remove(Int32Array.of((step * 7) % capacityItems, (step * 11) % capacityItems))
    index.updateTail(Int32Array.of((step * 3) % capacityItems), vectors(step, 1, 1))
  })
  expect(index.stats().kind).toBe('tree')
  expect(steps).toBeGreaterThan(3)
  expectWhole(index)
})

test('searches go on while a tree is grown anew, and the audit of it holds the target', async () => {
  await using bench = new Bench()
  const { index } = bench
  for (let q = 0; q < 400; q += 1) index.search(vectors(200 + q, 1, dim), 10)
  await bench.settle()
  expect(index.stats().tree?.recall).toBeGreaterThan(0.96)
  index.rebuild()
  let asked = 0
  await bench.settle((step) => {
    asked += index.search(vectors(step, 1, dim), 10).ids.filter((id) => id >= 0).length
  })
  expect(asked).toBeGreaterThan(10)
  const { grown = 0, rejected = 0 } = index.stats().tree ?? {}
  expect(grown + rejected).toBe(2)
  expectWhole(index)
})

test('an index that moves to another memory has another thread work there', async () => {
  await using bench = new Bench()
  const { index } = bench
  await bench.settle()
  index.remove(range(4_000).filter((id) => id % 100 !== 0))
  await bench.settle()
  expect(index.stats()).toMatchObject({ kind: 'flat-f32', items: 40 })
  index.upsert(range(4_000), vectors(2, 4_000, dim))
  await bench.settle()
  expect(index.stats()).toMatchObject({ kind: 'tree', items: 4_000 })
  expectWhole(index)
})

test('an index whose thread has ended says so when it is maintained', async () => {
  const bench = new Bench()
  bench.index.maintain(1)
  expect(bench.thread.isBusy).toBe(true)
  await bench.thread.close()
  const lost = expect.objectContaining({ code: 'KERNEL_WORKER_LOST' })
  expect(() => bench.index.maintain(64)).toThrow(lost)
})
