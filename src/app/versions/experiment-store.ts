/**
 * The record of an experiment of many processes, in Redis; see "Record of experiments" in
 * docs/formats.md. Whoever answers appends to a stream, bounded in length; one process, whoever has
 * the *count*, puts down what came of the answers, with where it stands, in one script, so that
 * whoever takes the count over goes on from there and counts nothing twice.
 *
 * Time is the server's alone. A call that is not answered in time throws, and is not repeated here.
 */
import * as z from 'zod'

import { answerWithin } from '../../redis/redis-answers.ts'
import {
  connectRedis,
  type RedisArgument,
  type RedisConnection,
  type RedisSettings,
} from '../../redis/redis-connection.ts'
import { redisScript, type RedisScript, runScript } from '../../redis/redis-script.ts'
import type { Answer } from '../../serving/versions/experiment.ts'
import type { Position } from '../../stream/event-log.ts'
import { totals } from './experiment-record.ts'

const timeoutMs = 2_000
/** The answers of an experiment that is over leave after so long. */
const expireMs = 86_400_000
const pageSize = 1_000

const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/**
 * KEYS: state, answers. ARGV: most answers, ms until they expire, then of each answer its age in ms
 * and its text. Numbers ascend also over the loss of all data: they are no less than the server's
 * microseconds. The time, the counts and when they were made.
 */
const appendScript = redisScript(`${clock}
if #ARGV > 2 then
  local last = tonumber(redis.call('HGET', KEYS[1], 'number') or '0')
  last = math.max(last, time[1] * 1000000 + time[2])
  for i = 3, #ARGV, 2 do
    last = last + 1
    local id = string.format('%.0f-0', last)
    local at = string.format('%.0f', now - tonumber(ARGV[i]))
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], id, 'at', at, 'answer', ARGV[i + 1])
  end
  redis.call('HSET', KEYS[1], 'number', string.format('%.0f', last))
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
local found = redis.call('HMGET', KEYS[1], 'counts', 'countedAt')
return {string.format('%.0f', now), found[1] or '', found[2] or '0'}`)

/**
 * KEYS: state, answers, taken. ARGV: token, ms, 1: another one is known to have had the count. If
 * nothing is there then, the server has lost it, and that one gets the time to put it back.
 * Granted: 1, the counts, the answers taken.
 */
const claimScript = redisScript(`${clock}
local found = redis.call('HMGET', KEYS[1], 'token', 'until', 'counts')
local lasts = string.format('%.0f', now + tonumber(ARGV[2]))
if not found[1] and ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'token', '', 'until', lasts)
  return {'0', '', {}}
end
if found[1] and found[1] ~= ARGV[1] and tonumber(found[2]) > now then return {'0', '', {}} end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'until', lasts)
return {'1', found[3] or '', redis.call('ZRANGE', KEYS[3], 0, -1)}`)

/**
 * KEYS: state, answers, taken. ARGV: token, ms, counts, number of the oldest answer needed, how
 * many were taken, their numbers, then those of answers to forget. 0: another one has the count.
 */
const saveScript = redisScript(`${clock}
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= '' and token ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'counts', ARGV[3],
  'until', string.format('%.0f', now + tonumber(ARGV[2])), 'countedAt', string.format('%.0f', now))
local taken = tonumber(ARGV[5])
for i = 6, 5 + taken do redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i]) end
for i = 6 + taken, #ARGV do
  redis.call('XDEL', KEYS[2], ARGV[i] .. '-0')
  redis.call('ZREM', KEYS[3], ARGV[i])
end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[4])
return 1`)

const counts = z.object({
  /** When counting began, epoch ms. */
  since: z.number(),
  /** Events before it are in the counts, or say nothing of any answer. */
  position: z.record(z.string(), z.string()),
  /** Answers up to this number are in the counts. */
  answersTo: z.number(),
  forgotten: z.int().nonnegative(),
  versions: z.record(z.string(), totals),
})

export type SavedCounts = Omit<z.infer<typeof counts>, 'position'> & { readonly position: Position }

const given = z.object({
  requestId: z.string(),
  user: z.string(),
  version: z.string(),
  items: z.array(z.string()),
})

/** As it is appended. */
export type AnswerText = z.infer<typeof given>

interface SeenCounts {
  readonly counts: SavedCounts | undefined
  /** By the server's clock, ms; undefined: nobody has counted yet. */
  readonly countedAgoMs: number | undefined
}

export interface CountsToSave {
  readonly counts: SavedCounts
  /** The oldest answer that is still waited for. */
  readonly oldest: number
  /** Numbers of answers of which something has been taken, or that are to be forgotten. */
  readonly taken: readonly number[]
  readonly gone: readonly number[]
  /** The count is held for so long; 0: it is left to others. */
  readonly holdMs: number
}

export interface ExperimentStoreOptions {
  readonly redis: RedisSettings
  readonly tag: string
  readonly maxAnswers: number
}

export class ExperimentStore {
  readonly #connection: RedisConnection
  readonly #maxAnswers: number
  readonly #keys: readonly [state: string, answers: string, taken: string]

  constructor({ redis, tag, maxAnswers }: ExperimentStoreOptions) {
    this.#connection = connectRedis(redis)
    this.#maxAnswers = maxAnswers
    const prefix = `{freshet:${tag}}:experiment`
    this.#keys = [prefix, `${prefix}:answers`, `${prefix}:taken`]
  }

  /** Whether there is a connection, now or within `limitMs`. */
  connected(limitMs: number): Promise<boolean> {
    const connected = this.#connection.connected(AbortSignal.timeout(limitMs))
    return connected.then(
      () => true,
      () => false,
    )
  }

  /** `said`: age in milliseconds and text of each answer, in turn. What is counted by now. */
  async append(said: readonly RedisArgument[]): Promise<SeenCounts> {
    const args = [this.#maxAnswers, expireMs, ...said]
    const [now, text, countedAt] = textsOf(await this.#run(appendScript, args))
    const counted = Number(countedAt)
    return {
      counts: countsOf(text),
      countedAgoMs: counted === 0 ? undefined : Number(now) - counted,
    }
  }

  /** Undefined: another one has the count. `isAnothers`: one is known to have had it before. */
  async claim(
    token: string,
    holdMs: number,
    isAnothers: boolean,
  ): Promise<{ counts: SavedCounts | undefined; taken: ReadonlySet<number> } | undefined> {
    const reply = await this.#run(claimScript, [token, holdMs, Number(isAnothers)])
    const [granted, text, taken] = Array.isArray(reply) ? (reply as unknown[]) : []
    if (String(granted) !== '1') return undefined
    return { counts: countsOf(String(text)), taken: new Set(textsOf(taken).map(Number)) }
  }

  /** False: another one has the count. */
  async save(token: string, what: CountsToSave): Promise<boolean> {
    const { counts: saved, oldest, taken, gone, holdMs } = what
    const args = [token, holdMs, JSON.stringify(saved), oldest, taken.length, ...taken, ...gone]
    return (await this.#run(saveScript, args)) === 1
  }

  /** Answers behind a number, in order, a bounded part of them; fewer than that: all. */
  async after(number: number): Promise<{ answers: readonly Answer[]; isAll: boolean }> {
    const answers = await this.#range('XRANGE', [`(${number}-0`, '+', 'COUNT', pageSize])
    return { answers, isAll: answers.length < pageSize }
  }

  /** The newest first. */
  async newest(limit: number, isWanted: (answer: Answer) => boolean): Promise<readonly Answer[]> {
    const found: Answer[] = []
    let end = '+'
    for (let seen = 0; seen <= 2 * this.#maxAnswers && found.length < limit; seen += pageSize) {
      const page = await this.#range('XREVRANGE', [end, '-', 'COUNT', pageSize])
      found.push(...page.filter(isWanted))
      const last = page.at(-1)
      if (last === undefined || page.length < pageSize) break
      end = `(${last.number}-0`
    }
    return found.slice(0, limit)
  }

  close(): void {
    this.#connection.close()
  }

  async #range(command: string, args: readonly RedisArgument[]): Promise<readonly Answer[]> {
    const call = this.#connection.call(command, [this.#keys[1], ...args])
    const reply = await answerWithin(timeoutMs, call)
    return Array.isArray(reply) ? (reply as unknown[]).flatMap((entry) => answerOf(entry)) : []
  }

  #run(script: RedisScript, args: readonly RedisArgument[]): Promise<unknown> {
    const keys = script === appendScript ? this.#keys.slice(0, 2) : this.#keys
    return answerWithin(timeoutMs, runScript(this.#connection, script, keys, args))
  }
}

const textsOf = (reply: unknown): readonly string[] =>
  Array.isArray(reply) ? reply.map(String) : []

function countsOf(text: string): SavedCounts | undefined {
  return text === '' ? undefined : counts.parse(JSON.parse(text))
}

/** Of an entry: its id, and names and values in turn. */
function answerOf(entry: unknown): readonly Answer[] {
  const [id, fields] = Array.isArray(entry) ? (entry as unknown[]) : []
  const [, at, , text = ''] = textsOf(fields)
  return [{ number: parseInt(String(id), 10), at: Number(at), ...given.parse(JSON.parse(text)) }]
}
