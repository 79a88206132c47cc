/** What admission and restrict do in the trainer, as the replica and its index see it. */
import { expect, test } from 'vitest'

import { outOfVocabularyKey } from '../../src/base/keys.ts'
import { SharedRowReader } from '../../src/embedding/admission/shared-row.ts'
import type { AdmissionSpec, TableSpec } from '../../src/embedding/table-spec.ts'
import type { ServingService } from '../../src/serving/serving-service.ts'
import { catalogue, clicks, Shop, shopTables, until } from '../support/shop-replica.ts'

/** A shop of 60 items with some learning behind it, and a service that has followed. */
async function followed(shop: Shop): Promise<ServingService> {
  await shop.append(catalogue(60))
  await shop.append(clicks(1, 300, 60))
  const service = await shop.serve()
  await shop.train()
  await shop.settled(service)
  return service
}

/** The replica has the trainer's rows, and no others. */
async function expectSameRows(shop: Shop, { replica }: ServingService): Promise<void> {
  for (const [name, table] of shop.learner.tables) {
    const copy = replica.table(name)
    expect(copy.size).toBe(table.size)
    for await (const { keys, vectors } of table.export()) {
      const found = new Float32Array(vectors.length)
      copy.find(keys, found)
      expect(found).toEqual(vectors)
    }
  }
}

/** Every vector of the index is what the towers make of the rows as they are. */
async function expectAligned({ replica, liveIndex }: ServingService): Promise<void> {
  await until(() => liveIndex.stats().versions.max === 0)
  for (const one of replica.facts.catalogue.items()) {
    const now = replica.embedItems([one])
    expect(liveIndex.vector(one.handle)?.subarray(0, -1)).toEqual(now.subarray(0, -1))
  }
}

test('a restrict reaches the replica and the index with the next delta', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  const { replica, liveIndex } = service
  const before = new Map(
    [...replica.facts.catalogue.items()].map(({ id, handle }) => [
      id,
      liveIndex.vector(handle)?.slice(),
    ]),
  )
  const rows = replica.table('item').size
  const limits = { policy: 'frequency', numReserved: 20, trigger: 20 } as const
  expect(await shop.learner.restrict('item', limits)).toBe(rows - 20)
  await shop.train()
  await shop.settled(service)
  expect(replica.table('item').size).toBe(20)
  await expectSameRows(shop, service)
  await expectAligned(service)
  const moved = [...replica.facts.catalogue.items()].filter(
    ({ id, handle }) => String(liveIndex.vector(handle)) !== String(before.get(id)),
  )
  expect(moved.length).toBeGreaterThanOrEqual(rows - 20)
  // What was evicted and comes again starts anew, here as there.
  await shop.append(clicks(2, 200, 60))
  await shop.train()
  await shop.settled(service)
  expect(replica.table('item').size).toBeGreaterThan(20)
  await expectSameRows(shop, service)
})

test.each<AdmissionSpec>([
  { kind: 'minCount', count: 9, capacityKeys: 4096 },
  { kind: 'countingBloom', count: 9, falsePositiveRate: 0.01, capacityKeys: 4096 },
  { kind: 'probabilistic', probability: 0.1 },
])('with admission by $kind, replica and index read what the trainer reads', async (admission) => {
  const earned = (spec: TableSpec): TableSpec =>
    ['had', 'item'].includes(spec.name) ? { ...spec, admission } : spec
  await using shop = await Shop.open({ tables: shopTables.map((spec) => earned(spec)) })
  const service = await followed(shop)
  const { replica } = service
  const shared = new Uint8Array(1)
  replica.table('item').find(outOfVocabularyKey, new Float32Array(8), shared)
  expect(shared[0]).toBe(1)
  expect(replica.table('item').size).toBeLessThan(55)
  await expectSameRows(shop, service)
  const reader = new SharedRowReader()
  const [found, expected] = [new Float32Array(8), new Float32Array(8)]
  for (const { id } of [...replica.facts.catalogue.items(), { id: 'never-seen' }]) {
    for (const { table, keys } of shop.learner.model.itemRows(id)) {
      reader.find(replica.table(table), keys, found)
      await shop.learner.table(table).find(keys, expected)
      expect(found).toEqual(expected)
    }
  }
  // The shared row has moved with every batch, and with it the items that have no other.
  expect(replica.needsSweep).toBe(true)
  await expectAligned(service)
})
