/**
 * The offline protocols: which of the interactions of a file are trained on and which are asked
 * for. Pure; a random split is a seeded permutation of the lines, the same on every machine.
 */
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
  /** The last interaction of every user is asked for. */
  | { readonly kind: 'leave-one-out' }

/** What a split looks at; ties in time keep the order of the file. */
export interface Splittable {
  readonly userId: string
  readonly timestamp: number
}

export interface Split<Member> {
  readonly train: readonly Member[]
  readonly test: readonly Member[]
}

const invalid = (text: string): ServiceError =>
  new ServiceError('USAGE_INVALID', {
    what: '--split',
    reason: `expected random:TRAIN/TEST:SEED, temporal:SHARE or leave-one-out, got "${text}"`,
  })

/** `random:80000/20000:42`, `temporal:0.8` or `leave-one-out`. Throws `USAGE_INVALID`. */
export function parseSplit(text: string): SplitSpec {
  if (text === 'leave-one-out') return { kind: 'leave-one-out' }
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
): Split<Member> {
  if (spec.kind === 'random') return randomSplit(members, spec)
  const ordered = inTimeOrder(members)
  if (spec.kind === 'temporal') {
    const at = Math.floor(ordered.length * spec.share)
    return { train: ordered.slice(0, at), test: ordered.slice(at) }
  }
  const last = new Map(ordered.map((member) => [member.userId, member]))
  const isLast = (member: Member): boolean => last.get(member.userId) === member
  return { train: ordered.filter((member) => !isLast(member)), test: ordered.filter(isLast) }
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

const inTimeOrder = <Member extends Splittable>(members: readonly Member[]): Member[] =>
  members.toSorted((a, b) => a.timestamp - b.timestamp)
