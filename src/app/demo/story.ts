/**
 * One visitor of the demo, Ada, whom the simulation does not know: now and then she clicks
 * something of another kind, and her list is shown before and after, with the time from click to
 * changed list.
 */
import type { Clock } from '../../base/clock.ts'
import type { Recommended, ServiceClient } from '../service-client.ts'
import type { Shop } from './shop.ts'

export interface Episode {
  readonly clicked: string
  readonly before: readonly string[]
  readonly after: readonly string[]
  /** From sending the click to holding the new list, in milliseconds. */
  readonly tookMs: number
}

const userId = 'ada'
const listLength = 5

const titlesOf = ({ items }: Recommended): readonly string[] =>
  items.map(({ id, attributes }) => {
    const title = attributes?.['title']
    return typeof title === 'string' ? title : id
  })

/** Ada clicks an item of the next niche in turn. */
export async function tellEpisode(
  client: ServiceClient,
  shop: Shop,
  { niche, clock }: { niche: number; clock: Clock },
): Promise<Episode | undefined> {
  const item = shop.itemIn(niche)
  if (item === undefined) return undefined
  const before = await client.recommend(userId, { n: listLength })
  const startedAt = clock.monotonic()
  const click = { kind: 'interaction', userId, itemId: item.itemId, type: 'click' }
  const { offset } = await client.sendEvents([{ ...click, context: { device: 'phone' } }])
  const after = await client.recommend(userId, { n: listLength, minSequence: offset ?? undefined })
  const tookMs = clock.monotonic() - startedAt
  return { clicked: item.title, before: titlesOf(before), after: titlesOf(after), tookMs }
}
