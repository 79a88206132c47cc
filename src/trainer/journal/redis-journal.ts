/**
 * The copy of the batch journal in Redis, beside the lease: a list of entries and the number of the
 * first. Every script looks at the lease first, so nothing is written by whoever was replaced, and
 * what a successor reads is final. See "The journal in Redis" in docs/formats.md.
 *
 * A server that has lost its last second, or all, gets what is missing from the journal's file with
 * the next entry; until then a successor would begin from less and cut the rest anew.
 */
import { ServiceError } from '../../base/errors.ts'
import { connectRedis } from '../../redis/redis-connection.ts'
import type { RedisArgument, RedisConnection, RedisSettings } from '../../redis/redis-connection.ts'
import { RedisPatience } from '../../redis/redis-patience.ts'
import { type RedisScript, runScript } from '../../redis/redis-script.ts'
import type { BatchJournal, NumberedEntry } from '../../stream/files/journal.ts'
import { entryBytes, entryOf } from '../../stream/files/journal.ts'
import type { Fence } from '../../sync/fence.ts'
import { type SyncNames, syncNames } from '../../sync/redis/redis-names.ts'
import { fenced } from '../../sync/redis/redis-sync-scripts.ts'
import type { JournalContents, JournalCopy } from './journal-copy.ts'

export interface RedisJournalOptions {
  /** Whose journal: part of the names in Redis. */
  readonly model: string
  readonly connection: RedisSettings
  readonly fence: Fence
  /** Default 2,000 ms. */
  readonly commandTimeoutMs?: number
}

/** KEYS[2]: number of the first, KEYS[3]: the list; ARGV: ..., from which index, to which. */
const readScript = fenced(`
local first = redis.call('GET', KEYS[2])
return {'done', first or '', redis.call('LRANGE', KEYS[3], ARGV[3], ARGV[4])}`)

/**
 * KEYS as above; ARGV: ..., number of the first entry that is given, the oldest to keep, whether to
 * begin anew with it, entries. What was there from that number on is replaced. `gap`: it does not
 * follow what is there.
 */
const appendScript = fenced(`
local from = tonumber(ARGV[3])
local keep = tonumber(ARGV[4])
if ARGV[5] == '1' then
  redis.call('DEL', KEYS[3])
  redis.call('SET', KEYS[2], ARGV[3])
end
local first = tonumber(redis.call('GET', KEYS[2]) or '-1')
local length = redis.call('LLEN', KEYS[3])
if first < 0 or from < first or from > first + length then return {'gap'} end
if from == first then
  redis.call('DEL', KEYS[3])
elseif from < first + length then
  redis.call('LTRIM', KEYS[3], 0, from - first - 1)
end
for i = 6, #ARGV do redis.call('RPUSH', KEYS[3], ARGV[i]) end
if keep > first then
  redis.call('LTRIM', KEYS[3], keep - first, -1)
  redis.call('SET', KEYS[2], ARGV[4])
end
return {'done'}`)

const defaultTimeoutMs = 2_000
/** Entries of one command: some hundred bytes each. */
const pageEntries = 256
/** Before a lease that has run out may have been renewed. */
const renewalPauseMs = 50

export class RedisJournal implements JournalCopy {
  readonly #options: RedisJournalOptions
  readonly #names: SyncNames
  readonly #connection: RedisConnection
  readonly #patience: RedisPatience

  constructor(options: RedisJournalOptions) {
    this.#options = options
    const { model, connection, commandTimeoutMs = defaultTimeoutMs } = options
    this.#names = syncNames(model)
    this.#connection = connectRedis(connection)
    this.#patience = new RedisPatience({
      connection: this.#connection,
      timeoutMs: commandTimeoutMs,
      closed: () => new ServiceError('SYNC_CLOSED', { side: 'journal' }),
      refused: (reason) => new ServiceError('SYNC_REFUSED', { model, reason }),
    })
  }

  async read(): Promise<JournalContents | undefined> {
    const entries: NumberedEntry[] = []
    for (;;) {
      const page = [entries.length, entries.length + pageEntries - 1]
      const [, first, found] = await this.#guarded(readScript, page)
      if (String(first) === '') return undefined
      const values = numberedEntries(found, Number(first) + entries.length)
      entries.push(...values)
      if (values.length < pageEntries) return { first: Number(first), entries }
    }
  }

  async append(
    entry: NumberedEntry,
    journal: Pick<BatchJournal, 'first' | 'entries'>,
  ): Promise<void> {
    while (!(await this.#append([entry], journal.first))) {
      // It has lost something: all that the file has is given to it again.
      const all = journal.entries(journal.first)
      for (let at = 0; at < all.length; at += pageEntries) {
        await this.#append(all.slice(at, at + pageEntries), journal.first, at === 0)
      }
    }
  }

  close(): void {
    this.#patience.close()
  }

  /** False: it does not follow what is there. */
  async #append(entries: readonly NumberedEntry[], keep: number, isAnew = false): Promise<boolean> {
    const [{ sequence }] = entries
    const values = entries.map((one) => Buffer.from(entryBytes(one)))
    const args = [sequence, keep, isAnew ? 1 : 0, ...values]
    const [word] = await this.#guarded(appendScript, args)
    return word === 'done'
  }

  /** Waits while Redis is away, and while nobody has the lease. Throws `SYNC_*`. */
  async #guarded(script: RedisScript, args: readonly RedisArgument[]): Promise<readonly unknown[]> {
    const { fence, model } = this.#options
    const { lease, journalFirst, journal } = this.#names
    for (;;) {
      const reply = await this.#patience.ask(() =>
        runScript(
          this.#connection,
          script,
          [lease, journalFirst, journal],
          [fence.epoch, fence.token, ...args],
        ),
      )
      const [word, ...rest]: readonly unknown[] = Array.isArray(reply) ? reply : []
      const text = String(word)
      if (text === 'done' || text === 'gap') return [text, ...rest]
      if (text === 'fenced') throw new ServiceError('SYNC_FENCED', { model, epoch: fence.epoch })
      await this.#patience.pause(renewalPauseMs)
    }
  }
}

/** A part of the list, whose first entry has that number. Throws `JOURNAL_DAMAGED`. */
export function numberedEntries(found: unknown, first: number): readonly NumberedEntry[] {
  const values: readonly unknown[] = Array.isArray(found) ? found : []
  return values.map((value, i) => numbered(value, first + i))
}

function numbered(value: unknown, expected: number): NumberedEntry {
  const entry = entryOf(value instanceof Uint8Array ? value : new Uint8Array())
  if (entry.sequence === expected) return entry
  throw new ServiceError('JOURNAL_DAMAGED', { reason: `entry ${expected} is missing in Redis` })
}
