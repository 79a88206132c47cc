/**
 * What stands beside the rows of each slice: of which model they are, who changes them, how far. A
 * store reads it all when it is opened and refuses rows that are not its own; then it claims every
 * slice with a number above all that its writer's name has ever used, which shuts out whoever used
 * the name before.
 */
import { ServiceError } from '../../base/errors.ts'
import type { RedisConnection } from '../../redis/redis-connection.ts'
import type { TableSpec } from '../table-spec.ts'
import { textsOf } from './redis-records.ts'
import type { SliceNames } from './redis-slices.ts'

const format = '1'
/** Changes that one life of a writer can number. */
const changesPerLife = 2 ** 32
/** Slices asked at a time. */
const slicesAtATime = 256

/** What must agree, field by field. */
type Identity = readonly (readonly [field: string, value: string])[]

export interface SliceOwner {
  readonly connection: RedisConnection
  readonly table: TableSpec
  readonly recordBytes: number
  readonly tag: string
  readonly writer: string
}

export function identityOf({ table, recordBytes }: SliceOwner, slices: number): Identity {
  const { name, dim, optimizer, initializer, seed = 0 } = table
  return [
    ['format', format],
    ['table', name],
    ['dim', String(dim)],
    ['optimizer', optimizer.kind],
    ['initializer', JSON.stringify(initializer)],
    ['seed', String(seed)],
    ['recordBytes', String(recordBytes)],
    ['slices', String(slices)],
  ]
}

export interface SliceClaims {
  /** The number of this life's last change, and what each slice has at least. */
  readonly number: number
  readonly marks: Float64Array
}

/**
 * Checks and claims all slices. Rejects `ROW_STORE_INCOMPATIBLE`, or `ROW_STORE_FENCED` where a
 * slice has a number above `ceiling`.
 */
export async function claimSlices(
  owner: SliceOwner,
  names: readonly SliceNames[],
  ceiling = Number.POSITIVE_INFINITY,
): Promise<SliceClaims> {
  const identity = identityOf(owner, names.length)
  const marks = new Float64Array(names.length)
  let greatest = 0
  await inParts(names, async (name, i) => {
    const { mark, number } = await readSlice(owner, name, identity)
    marks[i] = mark
    greatest = Math.max(greatest, number)
  })
  if (greatest > ceiling) {
    const { table, writer } = owner
    throw new ServiceError('ROW_STORE_FENCED', { table: table.name, writer })
  }
  const number = (Math.floor(greatest / changesPerLife) + 1) * changesPerLife
  await inParts(names, async ({ slice }) => {
    const claim = [`writer:${owner.writer}`, number, `result:${owner.writer}`, '']
    await owner.connection.call('HSET', [slice, ...identity.flat(), ...claim])
  })
  return { number, marks }
}

/** Rejects `ROW_STORE_INCOMPATIBLE` when a slice that is there is not as `identity` says. */
export async function checkSlices(
  owner: SliceOwner,
  names: readonly SliceNames[],
  identity: Identity,
): Promise<void> {
  await inParts(names, async (name) => {
    await readSlice(owner, name, identity)
  })
}

async function readSlice(
  { connection, table, tag, writer }: SliceOwner,
  { slice }: SliceNames,
  identity: Identity,
): Promise<{ mark: number; number: number }> {
  const fields = identity.map(([field]) => field)
  const reply = await connection.call('HMGET', [slice, ...fields, 'mark', `writer:${writer}`])
  const values = textsOf(reply)
  for (const [i, [field, expected]] of identity.entries()) {
    const found = values[i]
    if (found === undefined || found === expected) continue
    const details = { table: table.name, tag, field, found, expected }
    throw new ServiceError('ROW_STORE_INCOMPATIBLE', details)
  }
  return {
    mark: Number(values[identity.length] ?? -1),
    number: Number(values[identity.length + 1] ?? 0),
  }
}

export async function inParts(
  names: readonly SliceNames[],
  visit: (name: SliceNames, i: number) => Promise<void>,
): Promise<void> {
  for (let from = 0; from < names.length; from += slicesAtATime) {
    const part = names.slice(from, from + slicesAtATime)
    await Promise.all(part.map((name, i) => visit(name, from + i)))
  }
}
