/**
 * Which rows the batch after this one will probably need: of the events at hand, with the facts as
 * they are now. What happens in between may prove it wrong, which costs a read and changes no
 * result.
 */
import type { QueryInput } from '../model/inputs.ts'
import type { TableKeys, TwoTower } from '../model/two-tower.ts'
import type { Event, Interaction } from '../stream/event.ts'
import type { Item } from '../stream/example.ts'
import type { Facts } from '../stream/facts/facts.ts'
import type { ColumnBuilder } from './negatives.ts'

export interface UpcomingParts {
  readonly model: TwoTower
  readonly columns: ColumnBuilder
  readonly facts: Facts
  /** Of the batch that is meant. */
  readonly step: number
}

/** Copies of the keys. To be asked before anything else is prepared in the model. */
export function upcomingKeys(
  { model, columns, facts, step }: UpcomingParts,
  events: readonly Event[],
): readonly TableKeys[] {
  const interactions = events
    .filter((event) => event.kind === 'interaction')
    .slice(0, model.maxQueries)
  if (interactions.length === 0) return []
  const items = new Map<number, Item>()
  const add = (item: Item | undefined): void => {
    if (item !== undefined && items.size < model.maxItems) items.set(item.handle, item)
  }
  for (const { itemId } of interactions) add(facts.catalogue.byId(itemId))
  for (const item of columns.drawn(facts.catalogue, step)) add(item)
  const queries = interactions.map((interaction) => queryOf(facts, interaction))
  const lookups = model.prepareStep(queries, [...items.values()])
  return lookups.map(({ table, keys }) => ({ table, keys: keys.slice() }))
}

function queryOf({ users }: Facts, { userId, timestamp, context }: Interaction): QueryInput {
  const handle = users.handleOf(userId)
  return {
    userId,
    userFeatures: handle < 0 ? {} : users.features(handle),
    history: handle < 0 ? [] : users.history(handle),
    context: context ?? {},
    timestamp,
  }
}
