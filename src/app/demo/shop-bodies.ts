/** What happens in the simulated shop, as bodies of requests. */
import type { ShopEvent, ShopItem } from './shop.ts'

/** As the catalogue takes it: `id` in a list of items, `itemId` in an event. */
export const describe = (
  { itemId, title, categories, price }: ShopItem,
  idName: 'id' | 'itemId',
): object => ({
  [idName]: itemId,
  features: { title, categories, price },
  attributes: { title, price },
})

export const toEvent = (event: ShopEvent): object =>
  event.kind === 'item'
    ? Object.assign(describe(event, 'itemId'), { kind: 'item' })
    : {
        kind: 'interaction',
        userId: event.userId,
        itemId: event.itemId,
        type: event.type,
        context: { device: event.device },
      }
