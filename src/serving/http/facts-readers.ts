/** The catalogue and the users as the routes show them, read from the facts of the replica. */
import { ServiceError } from '../../base/errors.ts'
import type { Item } from '../../stream/example.ts'
import type { Facts } from '../../stream/facts/facts.ts'
import type { RecentPlace } from '../../stream/facts/users.ts'
import type { CatalogueReader, ItemPage, ItemView, UserPage, UsersReader } from './dependencies.ts'

export interface FactsReaders {
  readonly catalogue: CatalogueReader
  readonly users: UsersReader
}

/** `facts` is asked at every call: a resync may have replaced them. */
export function factsReaders(facts: () => Facts): FactsReaders {
  return {
    catalogue: {
      get: (itemId) => {
        const item = facts().catalogue.byId(itemId)
        return item === undefined ? undefined : viewOf(item, facts())
      },
      list: (cursor, limit) => {
        const page = facts().catalogue.list(positionOf(cursor), limit)
        const items = page.items.map((item) => viewOf(item, facts()))
        return page.cursor === undefined ? { items } : { items, next: String(page.cursor) }
      },
      search: (text, cursor, limit) => search(facts(), text, { at: positionOf(cursor), limit }),
    },
    users: {
      recent: (cursor, limit) => recentUsers(facts(), placeOf(cursor), limit),
      get: (id) => {
        const { users } = facts()
        const handle = users.handleOf(id)
        if (handle < 0) return undefined
        const history = users.history(handle).map(({ item, type, timestamp }) => ({
          itemId: item.id,
          type,
          timestamp,
        }))
        return { id, features: users.features(handle), history, seen: users.seen(handle).length }
      },
    },
  }
}

/** Items that a search looks at for one page: about ten milliseconds' worth. */
const searchedItems = 20_000

/** Items of one call of the catalogue. */
const searchStride = 1000

function search(
  facts: Facts,
  text: string,
  { at, limit }: { readonly at: number; readonly limit: number },
): ItemPage {
  const wanted = text.toLowerCase()
  const found: ItemView[] = []
  let cursor: number | undefined = at
  for (let looked = 0; looked < searchedItems;) {
    const stride: number = Math.min(searchStride, limit - found.length)
    if (stride === 0 || cursor === undefined) break
    looked += stride
    const page = facts.catalogue.list(cursor, stride)
    found.push(...page.items.filter((item) => has(item, wanted)).map((item) => viewOf(item, facts)))
    cursor = page.cursor
  }
  return cursor === undefined ? { items: found } : { items: found, next: String(cursor) }
}

function has({ id, features, attributes }: Item, wanted: string): boolean {
  const texts: readonly unknown[] = [id, attributes['title'], features['title']]
  return texts.some((text) => typeof text === 'string' && text.toLowerCase().includes(wanted))
}

/** A cursor is the handle at which the next page starts. */
function positionOf(cursor: string | undefined): number {
  if (cursor === undefined) return 0
  if (/^\d{1,10}$/.test(cursor)) return Number(cursor)
  throw strangeCursor()
}

function recentUsers({ users }: Facts, after: RecentPlace | undefined, limit: number): UserPage {
  const found = users.recent(limit + 1, after)
  const page = found.slice(0, limit).map((handle) => ({
    id: users.id(handle),
    lastActiveAt: users.lastActiveAt(handle),
  }))
  const last = page.at(-1)
  if (last === undefined || found.length <= limit) return { users: page }
  return { users: page, next: `${last.lastActiveAt}:${found[limit - 1]}` }
}

/** A cursor is where a page ended: the time, which any process understands, and the handle. */
function placeOf(cursor: string | undefined): RecentPlace | undefined {
  if (cursor === undefined) return undefined
  if (!/^\d{1,16}(\.\d{1,16})?:\d{1,10}$/.test(cursor)) throw strangeCursor()
  const [lastActiveAt = 0, handle = 0] = cursor.split(':').map(Number)
  return { handle, lastActiveAt }
}

const strangeCursor = (): ServiceError =>
  new ServiceError('REQUEST_INVALID', { path: 'cursor', reason: 'not one that a page gave' })

function viewOf(item: Item, { catalogue }: Facts): ItemView {
  const { id, features, attributes, hidden, expiresAt, crowdingTag, firstSeenAt } = item
  return {
    id,
    features,
    attributes,
    hidden,
    expiresAt: Number.isFinite(expiresAt) ? expiresAt : undefined,
    crowdingTag,
    firstSeenAt,
    lastTouchedAt: catalogue.lastTouchedAt(item.handle),
  }
}
