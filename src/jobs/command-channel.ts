/**
 * Where commands to an owner stand in Redis, and the scripts that move them; see
 * `owner-commands.ts`. All times are Redis' own, so that clocks of machines need not agree.
 */
import type { RedisArgument, RedisConnection, RedisSettings } from '../redis/redis-connection.ts'

export interface CommandChannel {
  readonly redis: RedisSettings
  /** Of the model. */
  readonly tag: string
  /** Who executes: `trainer`. */
  readonly owner: string
}

/** Answers, and marks of what was asked and begun, are kept so long. */
const keptMs = 60 * 60_000
/** An owner that has not renewed its claim for so long is gone. */
export const claimMs = 10_000
/** Commands that wait, of all who ask. */
const maxWaiting = 1_000

const nowInScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/**
 * KEYS: stream, answer, asked, claim, begun. ARGV: id, command, begin ms, kept ms, most waiting.
 */
const askScript = `${nowInScript}
if redis.call('EXISTS', KEYS[2], KEYS[5]) > 0 then return 1 end
local due = redis.call('GET', KEYS[3])
if due and tonumber(due) >= now then return 1 end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 0 end
redis.call('SET', KEYS[3], now + tonumber(ARGV[3]), 'PX', ARGV[4])
redis.call('XADD', KEYS[1], '*', 'id', ARGV[1], 'command', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1`

/** KEYS: as above. ARGV: entry, who, claim ms, kept ms. */
const claimScript = `${nowInScript}
if redis.call('EXISTS', KEYS[4]) == 1 then return 0 end
local due = redis.call('GET', KEYS[3])
local isBegun = redis.call('EXISTS', KEYS[5]) == 1
local isLate = not isBegun and (not due or tonumber(due) < now)
if redis.call('EXISTS', KEYS[2]) == 1 or isLate then
  redis.call('XDEL', KEYS[1], ARGV[1])
  return -1
end
redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[5], '0', 'PX', ARGV[4])
return 1`

/** KEYS: as above. ARGV: entry, who, answer, kept ms. Another's claim, or its answer, stands. */
const answerScript = `
local claim = redis.call('GET', KEYS[4])
if claim and claim ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4], 'NX')
redis.call('DEL', KEYS[4])
redis.call('XDEL', KEYS[1], ARGV[1])
return 1`

/** KEYS: as above. ARGV: who, claim ms. */
const renewScript = `
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[4], ARGV[2])`

/** KEYS: as above. ARGV: who, progress. */
const progressScript = `
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[5], ARGV[2], 'XX', 'KEEPTTL')
return 1`

/** KEYS: as above. ARGV: answer. */
const forgetScript = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])`

/** A command in the stream. */
export interface CommandEntry {
  readonly entry: string
  readonly id: string
  readonly command: string
}

/** What has become of a command. */
export interface CommandState {
  readonly answer: string | undefined
  readonly isBegun: boolean
  /** 0..1; 0 before it has begun. */
  readonly progress: number
}

export class CommandStore {
  readonly #connection: RedisConnection
  readonly #prefix: string

  constructor(connection: RedisConnection, { tag, owner }: CommandChannel) {
    this.#connection = connection
    // One hash slot, as a cluster wants it of keys that a script takes together.
    this.#prefix = `{freshet:${tag}}:commands:${owner}`
  }

  /** Adds it unless it is known; false where too many wait. */
  async ask(id: string, command: string, beginMs: number): Promise<boolean> {
    return (await this.#run(askScript, id, [id, command, beginMs, keptMs, maxWaiting])) === 1
  }

  async look(id: string): Promise<CommandState> {
    const [, answer, , , begun] = this.#keys(id)
    const found = await this.#connection.call('MGET', [answer, begun])
    const [text, mark] = Array.isArray(found) ? (found as unknown[]) : []
    return {
      answer: text instanceof Buffer ? text.toString() : undefined,
      isBegun: mark instanceof Buffer,
      progress: mark instanceof Buffer ? Number(mark.toString()) : 0,
    }
  }

  /** Those that have no answer yet, the oldest first. */
  async waiting(): Promise<readonly CommandEntry[]> {
    const found = await this.#connection.call('XRANGE', [this.#stream, '-', '+', 'COUNT', 100])
    return Array.isArray(found) ? found.map((entry) => parseEntry(entry)) : []
  }

  /** Resolves when there is one after `entry`, or after `waitMs`. Blocks the connection. */
  async arrival(entry: string, waitMs: number): Promise<void> {
    const from = ['COUNT', 1, 'BLOCK', waitMs, 'STREAMS', this.#stream, entry]
    await this.#connection.call('XREAD', from)
  }

  /** Whether `who` is to execute it; not so where another does, it was answered, or is late. */
  async claim({ entry, id }: CommandEntry, who: string): Promise<boolean> {
    return (await this.#run(claimScript, id, [entry, who, claimMs, keptMs])) === 1
  }

  async renew(id: string, who: string): Promise<void> {
    await this.#run(renewScript, id, [who, claimMs])
  }

  /** How far who has claimed it is. */
  async progress(id: string, who: string, done: number): Promise<void> {
    await this.#run(progressScript, id, [who, done.toFixed(4)])
  }

  async answer({ entry, id }: CommandEntry, who: string, text: string): Promise<void> {
    await this.#run(answerScript, id, [entry, who, text, keptMs])
  }

  /** As if it had never been asked, if this is the answer. */
  async forget(id: string, text: string): Promise<void> {
    await this.#run(forgetScript, id, [text])
  }

  get #stream(): string {
    return this.#prefix
  }

  #keys(id: string): [string, string, string, string, string] {
    const of = (what: string): string => `${this.#prefix}:${what}:${id}`
    return [this.#stream, of('answer'), of('asked'), of('claim'), of('begun')]
  }

  #run(script: string, id: string, args: readonly RedisArgument[]): Promise<unknown> {
    const keys = this.#keys(id)
    return this.#connection.call('EVAL', [script, keys.length, ...keys, ...args])
  }
}

/** `[entry, [field, value, ...]]`, as `askScript` writes it. */
function parseEntry(found: unknown): CommandEntry {
  const [entry, fields] = Array.isArray(found) ? (found as unknown[]) : []
  const [, id, , command] = Array.isArray(fields) ? (fields as unknown[]) : []
  return { entry: String(entry), id: String(id), command: String(command) }
}
