/**
 * The model tags under which rows of a table lie in Redis: who is there, and who has not been used
 * for long. Nothing here claims rows, so it may be done beside a trainer.
 */
import { ServiceError } from '../../base/errors.ts'
import type { RedisConnection, RedisSettings } from '../../redis/redis-connection.ts'
import { connectRedis } from '../../redis/redis-connection.ts'
import type { RedisLimits } from './redis-calls.ts'
import { RedisCalls } from './redis-calls.ts'
import { arrayOf, bytesOfReply, checkRecord, textsOf } from './redis-records.ts'
import { inParts, readHeader, type RowKind } from './redis-slice-header.ts'
import { type SliceNames, sliceNames, tagsName } from './redis-slices.ts'

/** Rows asked for at a time. */
const batchRows = 4_096
const changedSlice = 'a slice changed while it was read'

/** What is known of a tag without asking its slices. */
export interface TagEntry {
  readonly slices: number
  /** When it was last opened or marked, epoch ms. */
  readonly used: number
}

export async function readTags(
  connection: RedisConnection,
  table: string,
): Promise<ReadonlyMap<string, TagEntry>> {
  const reply = await connection.call('HGETALL', [tagsName(table)])
  const texts = textsOf(reply)
  const tags = new Map<string, TagEntry>()
  for (let i = 0; i + 1 < texts.length; i += 2) {
    const [slices, used] = (texts[i + 1] ?? '').split(' ').map(Number)
    tags.set(texts[i] ?? '', { slices, used })
  }
  return tags
}

/** Says of a tag that it is in use. */
export async function noteTag(
  connection: RedisConnection,
  table: string,
  [tag, { slices, used }]: readonly [tag: string, entry: TagEntry],
): Promise<void> {
  await connection.call('HSET', [tagsName(table), tag, `${slices} ${used}`])
}

/** Removes all that is under a tag. */
async function removeTag(
  connection: RedisConnection,
  table: string,
  [tag, { slices }]: readonly [tag: string, entry: TagEntry],
): Promise<void> {
  await inParts(sliceNames(table, tag, slices), async ({ rows, slice }) => {
    await connection.call('UNLINK', [rows, slice])
  })
  await connection.call('HDEL', [tagsName(table), tag])
}

export interface StoredTag extends TagEntry {
  readonly table: string
  readonly tag: string
  readonly rows: number
}

/** For whoever looks after the servers. Rejects as a row store does. */
export class RedisTags implements AsyncDisposable {
  readonly #connection: RedisConnection
  readonly #table: string
  readonly #calls: RedisCalls

  private constructor(connection: RedisConnection, table: string, limits: RedisLimits) {
    this.#connection = connection
    this.#table = table
    const probe = async (): Promise<void> => {
      await connection.call('PING', [])
    }
    this.#calls = new RedisCalls({ table, writer: '', limits, connection, probe })
  }

  static async open(
    table: string,
    settings: RedisSettings,
    limits: RedisLimits = {},
  ): Promise<RedisTags> {
    const connection = connectRedis(settings)
    const tags = new RedisTags(connection, table, limits)
    try {
      const { commandTimeoutMs = 2_000 } = limits
      const connected = () => connection.connected(AbortSignal.timeout(commandTimeoutMs))
      await tags.#calls.call('open', connected)
      return tags
    } catch (error) {
      await tags[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Longest unused first. */
  async list(): Promise<readonly StoredTag[]> {
    const connection = this.#connection
    const table = this.#table
    const tags = await this.#calls.call('tags', () => readTags(connection, table))
    const stored: StoredTag[] = []
    for (const [tag, entry] of tags) {
      const rows = await this.#calls.call('tags', () => this.#rowsOf(tag, entry))
      stored.push({ table, tag, rows, ...entry })
    }
    return stored.toSorted((a, b) => a.used - b.used)
  }

  /**
   * All rows under a tag as records, slice by slice, each slice as of one moment: what its trainer
   * has sent there. Rejects `ROW_STORE_INCOMPATIBLE` where they are of another kind or none, and
   * `ROW_STORE_UNAVAILABLE` where a slice changes again and again while it is read.
   */
  async *rows(tag: string, kind: RowKind): AsyncGenerator<Uint8Array> {
    const tags = await this.#calls.call('rows', () => readTags(this.#connection, this.#table))
    const entry = tags.get(tag)
    if (entry === undefined) throw unknownTag(this.#table, tag)
    for (const names of sliceNames(this.#table, tag, entry.slices)) {
      yield await this.#calls.call('rows', () => this.#readSlice(names, { kind, tag }))
    }
  }

  async remove(tag: StoredTag): Promise<void> {
    await this.#calls.call('expire', () => removeTag(this.#connection, this.#table, [tag.tag, tag]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#calls.close()
    this.#connection.close()
  }

  async #readSlice(
    names: SliceNames,
    source: { readonly kind: RowKind; readonly tag: string },
  ): Promise<Uint8Array> {
    const header = () => readHeader(this.#connection, names, source)
    const before = await header()
    const reply = await this.#connection.call('HKEYS', [names.rows])
    const keys = arrayOf(reply).map((key) => bytesOfReply(key))
    const rows: Buffer[] = []
    for (let from = 0; from < keys.length; from += batchRows) {
      const some = keys.slice(from, from + batchRows)
      const values = arrayOf(await this.#connection.call('HMGET', [names.rows, ...some]))
      for (const [i, value] of values.entries()) {
        if (!Buffer.isBuffer(value)) throw new Error(changedSlice)
        checkRecord(value, some[i], source.kind.recordBytes)
        rows.push(value)
      }
    }
    if ((await header()) !== before) throw new Error(changedSlice)
    return Buffer.concat(rows)
  }

  async #rowsOf(tag: string, { slices }: TagEntry): Promise<number> {
    let sum = 0
    await inParts(sliceNames(this.#table, tag, slices), async ({ rows }) => {
      const length = await this.#connection.call('HLEN', [rows])
      sum += Number(length)
    })
    return sum
  }
}

const unknownTag = (table: string, tag: string): ServiceError => {
  const details = { table, tag, field: 'rows', found: 'none', expected: 'some' }
  return new ServiceError('ROW_STORE_INCOMPATIBLE', details)
}
