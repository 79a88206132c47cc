/** A small service of which versions are asked over HTTP, and a shop to fill it. */
import { Shop } from '../../../src/app/demo/shop.ts'
import type { VersionsView, VersionView } from '../../../src/serving/versions/versions-desk.ts'

/** Batches end by count alone, so the same events make the same bits. */
export const byCount = 'model.batch.maxAgeMs=600000'

/** Events of a small shop, with ids, in order. */
export function shopEvents(count: number, seed = 1): readonly object[] {
  const shop = new Shop({ seed, users: 40, items: 120 })
  const items = shop.catalogue.map(({ itemId, title, categories }) => ({
    kind: 'item',
    itemId,
    features: { title, categories },
  }))
  const clicks: object[] = []
  while (clicks.length < count) {
    const event = shop.next()
    if (event.kind !== 'interaction') continue
    const { userId, itemId } = event
    clicks.push({
      kind: 'interaction',
      userId,
      itemId,
      type: 'click',
      context: { device: 'phone' },
    })
  }
  return [...items, ...clicks]
}

export interface Answered {
  readonly items: readonly { readonly id: string }[]
  readonly model: { readonly name: string; readonly version: number }
  readonly requestId: string
}

const tries = 3_000

export class VersionsOverHttp {
  readonly #address: string

  constructor(address: string) {
    this.#address = address
  }

  /** Throws the answer's text where it is an error. */
  async ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const request = {
      method,
      ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    }
    let response = await fetch(this.#address + path, request)
    let text = await response.text()
    // A machine that is busy turns requests away, and says that they may come again.
    for (let i = 0; i < tries && text.includes('"OVERLOADED"'); i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      response = await fetch(this.#address + path, request)
      text = await response.text()
    }
    if (!response.ok) throw new Error(`${response.status} ${text}`)
    return JSON.parse(text) as Answer
  }

  view(): Promise<VersionsView> {
    return this.ask('GET', '/v1/admin/versions')
  }

  one(name: string): Promise<VersionView> {
    return this.ask('GET', `/v1/admin/versions/${name}`)
  }

  recommend(userId: string, query = ''): Promise<Answered> {
    return this.ask('GET', `/v1/recommendations/${userId}?n=10${query}`)
  }

  /** The names of who answers these users, in order. */
  async namesFor(users: readonly string[]): Promise<readonly string[]> {
    const answers = await Promise.all(users.map((user) => this.recommend(user)))
    return answers.map(({ model }) => model.name)
  }

  /** Resolves when a version is as it should be. */
  async until(name: string, isSo: (view: VersionView) => boolean): Promise<VersionView> {
    let last: VersionView | undefined
    for (let i = 0; i < tries; i += 1) {
      last = await this.one(name)
      if (isSo(last)) return last
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`never so: ${JSON.stringify(last)}`)
  }

  ready(name: string, examples: number): Promise<VersionView> {
    return this.until(
      name,
      ({ state, training }) => state === 'ready' && (training?.examples ?? 0) >= examples,
    )
  }
}
