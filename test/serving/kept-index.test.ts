import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import type { ServingService } from '../../src/serving/serving-service.ts'
import { catalogue, clicks, erased, item, Shop, until } from '../support/shop-replica.ts'

/** A shop whose index has a tree and is kept, and what a checkpoint would have of it. */
class KeptShop implements AsyncDisposable {
  readonly directory: string
  readonly file: string
  readonly shop: Shop

  private constructor(directory: string, file: string, shop: Shop) {
    this.directory = directory
    this.file = file
    this.shop = shop
  }

  static async open(): Promise<KeptShop> {
    const directory = mkdtempSync(join(tmpdir(), 'freshet-kept-'))
    const file = join(directory, 'live.index')
    const shop = await Shop.open({ settings: { exactBelow: 40 }, indexFile: file })
    return new KeptShop(directory, file, shop)
  }

  /** Serves 90 items until there is a tree, and stops. */
  async before() {
    const { shop } = this
    await shop.append(catalogue(90))
    await shop.append(clicks(1, 300, 90))
    const service = await shop.serve()
    await shop.train()
    await shop.settled(service)
    await until(() => service.liveIndex.indexStats().kind === 'tree')
    const { facts, position } = service.replica
    const start = { facts: facts.serialize(), position: { ...position } }
    await service.stop()
    return start
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shop[Symbol.asyncDispose]()
    rmSync(this.directory, { recursive: true })
  }
}

const handleOf = (service: ServingService, id: string): number =>
  service.replica.facts.catalogue.byId(id)?.handle ?? -1

test(
  'a restart finds the index as it was, less what has left since',
  { timeout: 60_000 },
  async () => {
    await using kept = await KeptShop.open()
    const { shop } = kept
    const start = await kept.before()
    await shop.append([erased('i3'), item('fresh')])
    const service = await shop.serve(start)
    const early = service.liveIndex.indexStats()
    expect(early).toMatchObject({ kind: 'tree', items: 90 })
    expect(service.liveIndex.isCaughtUp).toBe(true)
    await shop.train()
    await shop.settled(service)
    expect(service.liveIndex.has(handleOf(service, 'fresh'))).toBe(true)
    const answer = await service.retriever.recommend({ userId: 'u1', n: 100, excludeSeen: false })
    expect(answer.items).toHaveLength(90)
    expect(answer.items.map(({ id }) => id)).not.toContain('i3')
    expect(shop.failures).toEqual([])
  },
)

test(
  'an item of another name under an old handle gets a vector of its own',
  { timeout: 60_000 },
  async () => {
    await using kept = await KeptShop.open()
    const { shop } = kept
    await kept.before()
    // Without the facts of then handles are given anew, in another order.
    await shop.append([erased('i0'), item('other')])
    const service = await shop.serve()
    await shop.train()
    await shop.settled(service)
    const { replica, liveIndex } = service
    for (const one of replica.facts.catalogue.items()) {
      const now = replica.embedItems([one])
      expect(liveIndex.vector(one.handle)?.subarray(0, -1)).toEqual(now.subarray(0, -1))
    }
    expect(liveIndex.indexStats().items).toBe(90)
  },
)

test(
  'a damaged file is reported and removed, and the index made anew',
  { timeout: 60_000 },
  async () => {
    await using kept = await KeptShop.open()
    const { shop, file } = kept
    const start = await kept.before()
    const bytes = readFileSync(file)
    bytes[bytes.length >> 1] ^= 4
    writeFileSync(file, bytes)
    const service = await shop.serve(start)
    expect(shop.failures).toEqual([expect.objectContaining({ code: 'INDEX_DAMAGED' })])
    expect(existsSync(file)).toBe(false)
    expect(service.liveIndex.indexStats().items).toBe(0)
    await shop.train()
    await shop.settled(service)
    expect(service.liveIndex.indexStats().items).toBe(90)
  },
)
