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

/** What rows are. */
export interface RowKind {
  readonly table: TableSpec
  readonly recordBytes: number
  /** Of the hash that keys are; undefined: not told apart. */
  readonly keySeed?: number | undefined
}

export interface SliceOwner extends RowKind {
  readonly connection: RedisConnection
  readonly tag: string
  readonly writer: string
}

/** What a row must agree in to mean the same in another table. */
const kindOf = ({ table, recordBytes, keySeed }: RowKind): Identity => [
  ['format', format],
  ['table', table.name],
  ['dim', String(table.dim)],
  ['optimizer', table.optimizer.kind],
  ['recordBytes', String(recordBytes)],
  ...(keySeed === undefined ? [] : [['keySeed', String(keySeed)] as const]),
]

/** And that rows of it may lie among those that are there. */
const identityOf = (owner: SliceOwner, slices: number): Identity => [
  ...kindOf(owner),
  ['initializer', JSON.stringify(owner.table.initializer)],
  ['seed', String(owner.table.seed ?? 0)],
  ['slices', String(slices)],
]

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

async function readSlice(
  { connection, table, tag, writer }: SliceOwner,
  { slice }: SliceNames,
  identity: Identity,
): Promise<{ mark: number; number: number }> {
  const fields = identity.map(([field]) => field)
  const reply = await connection.call('HMGET', [slice, ...fields, 'mark', `writer:${writer}`])
  const values = textsOf(reply)
  requireSame(identity, values, { table: table.name, tag })
  return {
    mark: Number(values[identity.length] ?? -1),
    number: Number(values[identity.length + 1] ?? 0),
  }
}

/** Throws `ROW_STORE_INCOMPATIBLE`; a slice that says nothing is empty. */
function requireSame(
  identity: Identity,
  values: readonly (string | undefined)[],
  where: { readonly table: string; readonly tag: string },
): void {
  for (const [i, [field, expected]] of identity.entries()) {
    const found = values[i]
    if (found === undefined || found === expected) continue
    throw new ServiceError('ROW_STORE_INCOMPATIBLE', { ...where, field, found, expected })
  }
}

/** All that stands in a slice, in one text: the same as long as the slice is. */
export async function readHeader(
  connection: RedisConnection,
  { slice }: SliceNames,
  { kind, tag }: { readonly kind: RowKind; readonly tag: string },
): Promise<string> {
  const texts = textsOf(await connection.call('HGETALL', [slice]))
  const fields = new Map<string, string>()
  for (let i = 0; i + 1 < texts.length; i += 2) fields.set(texts[i] ?? '', texts[i + 1] ?? '')
  const identity = kindOf(kind)
  const values = identity.map(([field]) => fields.get(field))
  requireSame(identity, values, { table: kind.table.name, tag })
  return texts.join('\n')
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
