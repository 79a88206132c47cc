import { expect, test } from 'vitest'

import { FlatIndex } from '../../src/ann/flat-index.ts'
import { Alignment } from '../../src/serving/alignment.ts'
import { LiveIndex } from '../../src/serving/live-index.ts'
import { buildQuery } from '../../src/serving/query-builder.ts'
import { QuerySample } from '../../src/serving/query-sample.ts'
import { Replica } from '../../src/serving/replica.ts'
import { Standstill } from '../../src/serving/standstill.ts'
import type { Event } from '../../src/stream/event.ts'
import { catalogue, click, erased, shopModel, shopTables } from '../support/shop-replica.ts'

const now = Date.now()
const items = 1_900
const everything = { items: 10_000, swept: 10_000, popularities: 10_000 }

/** A live index that is up to date whenever the audit draws breath, and what happens meanwhile. */
async function shopOf(meanwhile: (breath: number) => readonly Event[]) {
  const options = { model: shopModel, tables: shopTables, facts: { maxItems: 2_000 } }
  const replica = await Replica.create(options, { 0: '0' })
  const index = new FlatIndex({ dim: replica.indexDim, exactDims: 1, capacityItems: 2_048 })
  const liveIndex = new LiveIndex(replica, index, now)
  let offset = 0
  const happen = (events: readonly Event[]): void => {
    if (events.length === 0) return
    const offsets = events.map((_, i) => String(offset + i))
    offset += events.length
    const batch = { partition: 0, events, offsets, next: String(offset) }
    for (const [i, { acceptedAt }] of events.entries()) {
      liveIndex.react(replica.fold(batch, i), now, acceptedAt)
    }
    replica.finish(batch)
    liveIndex.work(everything)
  }
  happen([...catalogue(items), ...Array.from({ length: 20 }, (_, u) => click(`u${u}`, `i${u}`))])
  const sample = new QuerySample({ capacity: 32, every: 1 })
  for (let u = 0; u < 20; u += 1) {
    const { input } = buildQuery(replica.facts, { userId: `u${u}`, n: 10 }, now)
    if (input !== undefined) sample.offer(input)
  }
  let breaths = 0
  const breathe = async (): Promise<void> => {
    breaths += 1
    happen(meanwhile(breaths))
  }
  const implementation = 'wasm'
  const standstill = new Standstill()
  const alignment = new Alignment({
    replica,
    liveIndex,
    sample,
    breathe,
    standstill,
    implementation,
  })

  return { replica, liveIndex, alignment }
}

test('what people turn to while the audit goes on is no fault of an index that follows', async () => {
  // With every breath another item has many clicks of others, first those that were embedded first.
  const { replica, alignment } = await shopOf((breath) =>
    Array.from({ length: 8 }, (_, i) => click(`other${breath}-${i}`, `i${(7 * breath) % items}`)),
  )
  const { recall10, recall100, queries } = await alignment.audit(new AbortController().signal)
  await replica.close()
  expect({ recall10, recall100, queries }).toEqual({ recall10: 1, recall100: 1, queries: 20 })
})

test('more change than can be followed does not keep an audit from its end', async () => {
  const all = catalogue(items)
  // More than is embedded between two breaths.
  const { replica, alignment } = await shopOf((n) => all.slice(200 * (n % 9), 200 * (n % 9) + 200))
  const report = await alignment.audit(new AbortController().signal)
  await replica.close()
  expect(report).toMatchObject({ recall10: 1, queries: 20, items })
})

test('what goes while the audit goes on is missed by nobody, and nobody is told of changes after', async () => {
  const gone = Array.from({ length: items / 2 }, (_, i) => i)
  const { replica, liveIndex, alignment } = await shopOf((breath) =>
    gone.splice(0, breath > 20 ? 40 : 0).map((i) => erased(`i${i}`)),
  )
  const report = await alignment.audit(new AbortController().signal)
  expect(report.recall10).toBe(1)
  const changed = liveIndex.follow()
  liveIndex.unfollow()
  liveIndex.touch(Int32Array.of(items - 1))
  await replica.close()
  expect(changed.size).toBe(0)
})
