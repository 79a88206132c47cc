/**
 * A client of freshet's HTTP API for browsers and Node: `import { FreshetClient } from
 * 'freshet/client'`. It needs nothing but `fetch`. Every method rejects with `FreshetError`.
 */
import { type BatcherOptions, EventBatcher } from './event-batcher.ts'
import { type ClientOptions, FreshetError, type Request, Requests } from './requests.ts'
import type {
  Accepted,
  After,
  Answer,
  Embedding,
  Event,
  Features,
  Item,
  ItemFields,
  RankRequest,
  RecentUser,
  Recommendations,
  RecommendRequest,
  Selection,
  SessionRequest,
  User,
  UserPage,
  Written,
} from './types.ts'

export { type BatcherOptions, EventBatcher } from './event-batcher.ts'
export { FreshetAdmin } from './freshet-admin.ts'
export { type ClientOptions, FreshetError } from './requests.ts'
export type * from './types.ts'

const itemPath = (id: string): string => `/v1/items/${encodeURIComponent(id)}`
const userPath = (id: string): string => `/v1/users/${encodeURIComponent(id)}`

/** 128 random bits. A page that has come by plain HTTP has no `crypto.randomUUID`. */
const newKey = (): string => crypto.getRandomValues(new Uint32Array(4)).join('-')

export class FreshetClient {
  readonly #requests: Requests

  constructor(options: ClientOptions) {
    this.#requests = new Requests(options)
  }

  /** Resolves when durable. One bad event rejects none of its neighbours. */
  sendEvents(events: readonly Event[], keepalive = false): Promise<Accepted> {
    return this.#write<Accepted>({ method: 'POST', path: '/v1/events', body: events, keepalive })
  }

  /** Collects events and sends them together; dispose it at the end. */
  batchEvents(options: BatcherOptions): EventBatcher {
    return new EventBatcher((events, keepalive) => this.sendEvents(events, keepalive), options)
  }

  putItem(id: string, fields: ItemFields): Promise<Written> {
    return this.#write({ method: 'PUT', path: itemPath(id), body: fields })
  }

  /** Changes what is named and leaves the rest. */
  patchItem(id: string, fields: ItemFields): Promise<Written> {
    return this.#write({ method: 'PATCH', path: itemPath(id), body: fields })
  }

  putItems(items: readonly (ItemFields & { readonly id: string })[]): Promise<Accepted> {
    return this.#write({ method: 'POST', path: '/v1/items', body: items })
  }

  deleteItem(id: string): Promise<Written> {
    return this.#write({ method: 'DELETE', path: itemPath(id) })
  }

  /** undefined: nobody knows it. */
  item(id: string, after: After = {}): Promise<Item | undefined> {
    return this.#known('ITEM_UNKNOWN', this.#get<Item>(itemPath(id), after))
  }

  /** The catalogue, or what has `search` in id or title; asked page by page as it is read. */
  async *items(query: { readonly search?: string } = {}): AsyncGenerator<Item> {
    let cursor: string | undefined
    do {
      const parameters = { ...query, ...(cursor === undefined ? {} : { cursor }) }
      const page = await this.#get<{ items: Item[]; next?: string }>('/v1/items', parameters)
      yield* page.items
      cursor = page.next
    } while (cursor !== undefined)
  }

  putUser(id: string, features: Features): Promise<Written> {
    return this.#write({ method: 'PUT', path: userPath(id), body: { features } })
  }

  patchUser(id: string, features: Features): Promise<Written> {
    return this.#write({ method: 'PATCH', path: userPath(id), body: { features } })
  }

  /** Erases the user everywhere. */
  deleteUser(id: string): Promise<Written> {
    return this.#write({ method: 'DELETE', path: userPath(id) })
  }

  /** undefined: nobody knows it. */
  user(id: string, after: After = {}): Promise<User | undefined> {
    return this.#known('USER_UNKNOWN', this.#get<User>(userPath(id), after))
  }

  /** The last active first. */
  async recentUsers(limit = 20): Promise<readonly RecentUser[]> {
    return (await this.#get<UserPage>('/v1/users', { limit: String(limit) })).users
  }

  /** All of them, the last active first; asked page by page as they are read. */
  async *users(): AsyncGenerator<RecentUser> {
    let cursor: string | undefined
    do {
      const parameters = { limit: '100', ...(cursor === undefined ? {} : { cursor }) }
      const page = await this.#get<UserPage>('/v1/users', parameters)
      yield* page.users
      cursor = page.next
    } while (cursor !== undefined)
  }

  recommend(request: RecommendRequest & After): Promise<Answer> {
    return this.#ask('/v1/recommendations', request)
  }

  /** An answer for each request, in order; at most 100. */
  async recommendAll(
    requests: readonly RecommendRequest[],
    after: After = {},
  ): Promise<readonly Recommendations[]> {
    const body = { requests, ...after }
    const path = '/v1/recommendations/batch'
    return (await this.#ask<{ answers: Recommendations[] }>(path, body)).answers
  }

  /** For somebody of whom only a session is known. */
  recommendForSession(request: SessionRequest): Promise<Answer> {
    return this.#ask('/v1/sessions/recommendations', request)
  }

  /** Given items, in the order in which a user would like them. */
  rank(request: RankRequest): Promise<Answer> {
    return this.#ask('/v1/rank', request)
  }

  /** The nearest items of an item. Filters by number and token are for `recommend`. */
  similar(
    itemId: string,
    selection: Pick<Selection, 'n' | 'offset' | 'effort'> & After = {},
  ): Promise<Answer> {
    return this.#get(`${itemPath(itemId)}/similar`, selection)
  }

  userEmbedding(id: string, after: After = {}): Promise<Embedding> {
    return this.#get(`${userPath(id)}/embedding`, after)
  }

  itemEmbedding(id: string, after: After = {}): Promise<Embedding> {
    return this.#get(`${itemPath(id)}/embedding`, after)
  }

  /** What the dashboard shows. */
  status(): Promise<Readonly<Record<string, unknown>> & { readonly at: number }> {
    return this.#get('/v1/status')
  }

  #get<Body>(path: string, query: object = {}): Promise<Body> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined)
    const texts = Object.fromEntries(given.map(([name, value]) => [name, String(value)]))
    const parameters = new URLSearchParams(texts)
    const asked = given.length === 0 ? path : `${path}?${parameters.toString()}`
    return this.#requests.json<Body>({ method: 'GET', path: asked })
  }

  /** A question that is asked with a body: safe to repeat. */
  #ask<Body>(path: string, body: object): Promise<Body> {
    return this.#requests.json<Body>({ method: 'POST', path, body })
  }

  /** A write under a key of its own: repeated, it counts once. */
  #write<Body>(request: Request): Promise<Body> {
    return this.#requests.json<Body>({ ...request, idempotencyKey: newKey() })
  }

  async #known<Body>(unknown: string, answer: Promise<Body>): Promise<Body | undefined> {
    try {
      return await answer
    } catch (error) {
      if (error instanceof FreshetError && error.code === unknown) return undefined
      throw error
    }
  }
}
