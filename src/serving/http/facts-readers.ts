/** The catalogue and the users as the routes show them, read from the facts of the replica. */
import { ServiceError } from '../../base/errors.ts'
import type { Item } from '../../stream/example.ts'
import type { Facts } from '../../stream/facts/facts.ts'
import type { CatalogueReader, ItemPage, ItemView, UsersReader } from './dependencies.ts'

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
      recent: (limit) => {
        const { users } = facts()
        return users
          .recent(limit)
          .map((handle) => ({ id: users.id(handle), lastActiveAt: users.lastActiveAt(handle) }))
      },
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
  throw new ServiceError('REQUEST_INVALID', { path: 'cursor', reason: 'not one that a page gave' })
}

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
