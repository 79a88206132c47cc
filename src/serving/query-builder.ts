/** From a request and what is known of its user to the towers' input. */
import { type Features, noFeatures } from '../base/features.ts'
import type { HistoryEntry, QueryInput } from '../model/inputs.ts'
import type { Facts } from '../stream/facts/facts.ts'
import type { Fallback, RecommendRequest } from './recommendation.ts'

export interface BuiltQuery {
  /** Absent when nothing at all is known: then popularity ranks. */
  readonly input: QueryInput | undefined
  readonly fallback: Fallback | undefined
  /** Handles of items that the user has had. */
  readonly seen: Int32Array
}

const defaultType = 'click'
const nothingSeen = new Int32Array(0)

/** `now`: of the request, epoch ms. */
export function buildQuery(facts: Facts, request: RecommendRequest, now: number): BuiltQuery {
  const { userId, context = noFeatures } = request
  const given = givenHistory(facts, request, now)
  const user = userId === undefined ? -1 : facts.users.handleOf(userId)
  const known = user >= 0 ? facts.users.history(user) : []
  const knownSeen = user >= 0 ? facts.users.seen(user) : nothingSeen
  const userFeatures = merged(user >= 0 ? facts.users.features(user) : noFeatures, request.features)
  const fallback = user >= 0 ? undefined : fallbackOf({ given, userFeatures, context })
  const history = joined(given, known)
  const input = { userId, userFeatures, history, context, timestamp: now }
  return {
    input: fallback === 'nothing' ? undefined : input,
    fallback: fallback === 'nothing' ? (request.fallback ?? 'popularity') : fallback,
    // Hundreds of handles for every query: copied only where something is added.
    seen: given.length === 0 ? knownSeen : withGiven(knownSeen, given),
  }
}

function withGiven(knownSeen: Int32Array, given: readonly HistoryEntry[]): Int32Array {
  const seen = new Int32Array(knownSeen.length + given.length)
  seen.set(knownSeen)
  for (const [i, { item }] of given.entries()) seen[knownSeen.length + i] = item.handle
  return seen
}

function givenHistory(
  { catalogue }: Facts,
  { history = [] }: RecommendRequest,
  now: number,
): HistoryEntry[] {
  const entries = history.flatMap(({ itemId, type = defaultType, timestamp = now }) => {
    const item = catalogue.byId(itemId)
    return item === undefined ? [] : [{ item, type, timestamp }]
  })
  return entries.toSorted((a, b) => b.timestamp - a.timestamp)
}

const merged = (known: Features, given: Features | undefined): Features =>
  given === undefined ? known : { ...known, ...given }

/** Distinct items, what was given first. */
function joined(
  given: readonly HistoryEntry[],
  known: readonly HistoryEntry[],
): readonly HistoryEntry[] {
  if (given.length === 0) return known
  const seen = new Set<number>()
  return [...given, ...known].filter(({ item: { handle } }) => {
    const isNew = !seen.has(handle)
    seen.add(handle)
    return isNew
  })
}

interface Given {
  readonly given: readonly HistoryEntry[]
  readonly userFeatures: Features
  readonly context: Features
}

function fallbackOf({ given, userFeatures, context }: Given): Fallback | 'nothing' {
  if (given.length > 0) return 'history'
  if (Object.keys(userFeatures).length > 0) return 'features'
  return Object.keys(context).length > 0 ? 'context' : 'nothing'
}
