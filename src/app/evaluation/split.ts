/**
 * The offline protocols: which of the interactions of a file are trained on and which are asked
 * for. Pure; a random split is a seeded permutation of the lines, the same on every machine.
 */
import { unreachable } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import { seededRandom } from '../../base/random.ts'

export type SplitSpec =
  /** The first `train` of the permutation are trained on, the next `test` are asked for. */
  | {
      readonly kind: 'random'
      readonly train: number
      readonly test: number
      readonly seed: number
    }
  /** The first share in time order is trained on, the rest asked for. */
  | { readonly kind: 'temporal'; readonly share: number }
  /**
   * Of every user the last interaction is asked for, once the `dropped` newest are left out: with
   * one dropped the settings can be chosen without a look at what they are judged by.
   */
  | { readonly kind: 'leave-one-out'; readonly dropped: number }
  /** What a file of negatives names is asked for, the rest trained on. */
  | { readonly kind: 'given' }

/** Whose interaction with what. */
type Named = Pick<Splittable, 'userId' | 'itemId'>

/** What a split looks at; ties in time keep the order of the file. */
export interface Splittable {
  readonly userId: string
  readonly itemId: string
  readonly timestamp: number
}

export interface Split<Member> {
  readonly train: readonly Member[]
  readonly test: readonly Member[]
}

const invalid = (text: string): ServiceError =>
  new ServiceError('USAGE_INVALID', {
    what: '--split',
    reason:
      'expected random:TRAIN/TEST:SEED, temporal:SHARE, leave-one-out[:DROPPED] or given, ' +
      `got "${text}"`,
  })

/**
 * `random:80000/20000:42`, `temporal:0.8`, `leave-one-out`, `leave-one-out:1` or `given`. Throws
 * `USAGE_INVALID`.
 */
export function parseSplit(text: string): SplitSpec {
  if (text === 'given') return { kind: 'given' }
  const last = /^leave-one-out(?::(\d{1,4}))?$/.exec(text)
  if (last !== null) return { kind: 'leave-one-out', dropped: Number(last[1] ?? 0) }
  const random = /^random:(\d+)\/(\d+)(?::(\d+))?$/.exec(text)
  if (random !== null) {
    const [train, test, seed] = random.slice(1).map((digits) => Number(digits ?? 42))
    if (train > 0 && test > 0) return { kind: 'random', train, test, seed }
  }
  const share = Number(/^temporal:(0?\.\d+)$/.exec(text)?.[1])
  if (share > 0 && share < 1) return { kind: 'temporal', share }
  throw invalid(text)
}

/** Fisher-Yates over 0..n-1. */
export function permutation(n: number, ...seeds: readonly number[]): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i)
  const random = seededRandom(...seeds)
  for (let i = n - 1; i > 0; i -= 1) {
    const j = random.integer(i + 1)
    const held = order[i]
    order[i] = order[j]
    order[j] = held
  }
  return order
}

/** Both parts keep the order of time, and in a random split that of the file. */
export function split<Member extends Splittable>(
  members: readonly Member[],
  spec: SplitSpec,
  given: readonly Named[] = [],
): Split<Member> {
  switch (spec.kind) {
    case 'random':
      return randomSplit(members, spec)
    case 'temporal': {
      const ordered = inTimeOrder(members)
      const at = Math.floor(ordered.length * spec.share)
      return { train: ordered.slice(0, at), test: ordered.slice(at) }
    }
    case 'leave-one-out':
      return leaveOneOut(inTimeOrder(members), spec.dropped)
    case 'given':
      return givenSplit(inTimeOrder(members), given)
    default:
      return unreachable(spec)
  }
}

/** What a user has fewer of than are dropped is trained on. */
function leaveOneOut<Member extends Splittable>(
  ordered: readonly Member[],
  dropped: number,
): Split<Member> {
  const ofUser = Map.groupBy(ordered, ({ userId }) => userId)
  const lasts = [...ofUser.values()].filter((list) => list.length > dropped)
  const asked = new Set(lasts.map((list) => list[list.length - 1 - dropped]))
  const gone = new Set(lasts.flatMap((list) => list.slice(list.length - dropped)))
  const train = ordered.filter((member) => !asked.has(member) && !gone.has(member))
  return { train, test: ordered.filter((member) => asked.has(member)) }
}

function givenSplit<Member extends Splittable>(
  ordered: readonly Member[],
  given: readonly Named[],
): Split<Member> {
  const named = new Map(given.map(({ userId, itemId }) => [userId, itemId]))
  const isNamed = ({ userId, itemId }: Member): boolean => named.get(userId) === itemId
  return { train: ordered.filter((member) => !isNamed(member)), test: ordered.filter(isNamed) }
}

function randomSplit<Member>(
  members: readonly Member[],
  { train, test, seed }: SplitSpec & { kind: 'random' },
): Split<Member> {
  if (train + test > members.length) {
    const reason = `${train} + ${test} wanted, the file has ${members.length}`
    throw new ServiceError('USAGE_INVALID', { what: '--split', reason })
  }
  const order = permutation(members.length, seed)
  const part = (from: number, to: number): readonly Member[] =>
    Array.from(order.slice(from, to).toSorted(), (i) => members[i])
  return { train: part(0, train), test: part(train, train + test) }
}

/** A history is what came before, whatever the order of the lines. */
export const inTimeOrder = <Member extends Splittable>(members: readonly Member[]): Member[] =>
  members.toSorted((a, b) => a.timestamp - b.timestamp)
