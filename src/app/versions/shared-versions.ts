/**
 * The list of versions of many processes: in Redis, with a revision that each change raises by one
 * where nobody else has changed it meanwhile. Every process looks twice a second, and says what
 * others want to know: trainers how far their version is, replicas what theirs still wait for.
 *
 * What Redis has lost it gets back from whoever knows the newest revision. See docs/formats.md.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import type { Service } from '../../base/service.ts'
import { answerWithin, reasonOf, refusalOf } from '../../redis/redis-answers.ts'
import {
  connectRedis,
  type RedisArgument,
  type RedisConnection,
  type RedisSettings,
} from '../../redis/redis-connection.ts'
import { redisScript, type RedisScript, runScript } from '../../redis/redis-script.ts'
import type { Learning } from './learning.ts'
import { versionsFrom, versionsText } from './version-file.ts'
import type { VersionList } from './version-list.ts'

const [lookMs, timeoutMs] = [500, 2_000]
/** What has not been said again for so long does not count any more. */
const heardWithinMs = 10_000
const maxTries = 8

/**
 * KEYS: list, said. ARGV: own revision, then names and texts to say. The revision, the list where
 * it is another one, and all that is said, each with the milliseconds since.
 */
const lookScript = redisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], string.format('%.0f', now) .. ' ' .. ARGV[i + 1])
end
local found = redis.call('HGETALL', KEYS[2])
local said = {}
for i = 1, #found, 2 do
  local silent = now - tonumber(string.match(found[i + 1], '^%d+'))
  if silent > 60000 then redis.call('HDEL', KEYS[2], found[i])
  else
    said[#said + 1] = found[i]
    said[#said + 1] = string.format('%.0f', silent)
    said[#said + 1] = string.match(found[i + 1], '^%d+ (.*)$')
  end
end
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
local list = ''
if revision ~= ARGV[1] then list = redis.call('HGET', KEYS[1], 'list') or '' end
return {revision, list, said}`)

/** KEYS: list. ARGV: the revision that is expected, the new one, the list. */
const writeScript = redisScript(`
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'list', ARGV[3])
return 1`)

const learning = z.object({
  training: z.object({
    steps: z.number(),
    examples: z.number(),
    lagEvents: z.number(),
    loss: z.number(),
    guardTrips: z.number(),
    rows: z.number(),
    tableBytes: z.number(),
  }),
  evaluation: z.object({ model: ranking(), recentlyPopular: ranking(), coVisitation: ranking() }),
})

function ranking() {
  const number = z.number()
  return z.object({ hr10: number, ndcg10: number, mrr10: number, evaluated: number })
}

/** What its versions wait for, by name; '': for nothing. */
const waiting = z.record(z.string(), z.string())

/** What a process lets the others know. */
export interface Saying {
  /** Of the versions that it trains, actively. */
  readonly learning: Readonly<Record<string, Learning>>
  /** Of a replica: its name, and what its versions wait for. */
  readonly replica?: { readonly name: string; readonly waits: Readonly<Record<string, string>> }
}

export interface SharedVersionsOptions {
  readonly redis: RedisSettings
  readonly tag: string
  readonly say: () => Saying
  /** Another process has changed the list. */
  readonly onList: () => void
  /** Redis refuses, or what it has cannot be read; called once for each reason. */
  readonly onTrouble: (error: unknown) => void
}

interface Known {
  readonly revision: number
  readonly list: VersionList | undefined
}

/** Invariant: the revision never falls, and a list is known under the one that it was given. */
export class SharedVersions implements Service {
  readonly name = 'versions in Redis'
  readonly #options: SharedVersionsOptions
  readonly #connection: RedisConnection
  readonly #keys: readonly string[]
  readonly #stopping = new AbortController()
  readonly #learning = new Map<string, Learning>()
  readonly #waiting = new Map<string, Readonly<Record<string, string>>>()
  #known: Known = { revision: 0, list: undefined }
  #loop: Promise<void> = Promise.resolve()
  #trouble = ''

  constructor(options: SharedVersionsOptions) {
    this.#options = options
    this.#connection = connectRedis(options.redis)
    const prefix = `{freshet:${options.tag}}:versions`
    this.#keys = [prefix, `${prefix}:said`]
  }

  /** As it was last seen; undefined: there is none yet. */
  get list(): VersionList | undefined {
    return this.#known.list
  }

  /** Of a version's trainer, wherever it is, while it is heard of. */
  learningOf(version: string): Learning | undefined {
    return this.#learning.get(version)
  }

  /** Replicas of which a version cannot answer, and what they wait for; undefined: of none. */
  waitingFor(version: string): string | undefined {
    const waits = [...this.#waiting].flatMap(([replica, names]) => {
      const reason = names[version] ?? 'not there yet'
      return reason === '' ? [] : [`${replica}: ${reason}`]
    })
    return waits.length === 0 ? undefined : waits.join('; ')
  }

  /** Looks until Redis answers, or refuses for good. Throws the signal's reason. */
  async open(limitMs: number, signal: AbortSignal): Promise<'open' | 'refused' | 'silent'> {
    const limit = performance.now() + limitMs
    for (;;) {
      signal.throwIfAborted()
      try {
        await this.#look()
        return 'open'
      } catch (error) {
        const isRefused = refusalOf(error, this.#connection) !== undefined
        if (isRefused || performance.now() > limit) {
          this.#note(error)
          return isRefused ? 'refused' : 'silent'
        }
        await sleep(100)
      }
    }
  }

  /**
   * Makes a change of the list durable; it may be asked for more than once, of newer lists. Throws
   * `VERSIONS_UNAVAILABLE`, and what `change` throws.
   */
  async change(change: (list: VersionList | undefined) => VersionList): Promise<VersionList> {
    for (let tries = 0; tries < maxTries; tries += 1) {
      const { revision, list } = this.#known
      const next = change(list)
      if (next === list) return next
      if (await this.#written(revision, { revision: revision + 1, list: next })) return next
      await this.#looked()
    }
    throw new ServiceError('VERSIONS_UNAVAILABLE', {
      reason: 'others change the list all the time',
    })
  }

  start(): Promise<void> {
    this.#loop = this.#follow()
    return Promise.resolve()
  }

  drain(): Promise<void> {
    this.#stopping.abort()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#connection.close()
    await this.#loop
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await this.#look()
        this.#trouble = ''
      } catch (error) {
        if (!signal.aborted) this.#note(error)
      }
      await sleep(lookMs, undefined, { signal }).catch(() => undefined)
    }
  }

  #note(error: unknown): void {
    const reason = reasonOf(error)
    if (reason === this.#trouble) return
    this.#trouble = reason
    this.#options.onTrouble(error)
  }

  async #looked(): Promise<void> {
    try {
      await this.#look()
    } catch (error) {
      throw new ServiceError('VERSIONS_UNAVAILABLE', { reason: reasonOf(error) }, { cause: error })
    }
  }

  async #look(): Promise<void> {
    const said = sayingOf(this.#options.say())
    const reply = await this.#run(lookScript, [this.#known.revision, ...said])
    const [revision, text, heard] = Array.isArray(reply) ? (reply as unknown[]) : []
    this.#hear(Array.isArray(heard) ? heard.map(String) : [])
    const found = Number(revision)
    const { revision: own, list } = this.#known
    if (found > own) {
      this.#known = { revision: found, list: versionsFrom(String(text), 'Redis') }
      this.#options.onList()
    } else if (found < own && list !== undefined) {
      // Redis has lost it.
      await this.#written(found, { revision: own, list })
    }
  }

  /** False: somebody else was faster. Throws `VERSIONS_UNAVAILABLE`. */
  async #written(expected: number, next: Known & { list: VersionList }): Promise<boolean> {
    try {
      const args = [expected, next.revision, versionsText(next.list)]
      const isWritten = (await this.#run(writeScript, args)) === 1
      if (isWritten && next.revision > this.#known.revision) this.#known = next
      return isWritten
    } catch (error) {
      throw new ServiceError('VERSIONS_UNAVAILABLE', { reason: reasonOf(error) }, { cause: error })
    }
  }

  #run(script: RedisScript, args: readonly RedisArgument[]): Promise<unknown> {
    const keys = script === writeScript ? this.#keys.slice(0, 1) : this.#keys
    return answerWithin(timeoutMs, runScript(this.#connection, script, keys, args))
  }

  /** Name, milliseconds since, text, in turn. */
  #hear(said: readonly string[]): void {
    this.#learning.clear()
    this.#waiting.clear()
    for (let i = 0; i + 2 < said.length; i += 3) {
      const [who, silentMs, text] = said.slice(i, i + 3)
      if (Number(silentMs) > heardWithinMs) continue
      const name = who.slice(who.indexOf(':') + 1)
      if (who.startsWith('replica:')) this.#waiting.set(name, parsed(waiting, text) ?? {})
      const found = who.startsWith('trainer:') ? parsed(learning, text) : undefined
      if (found !== undefined) this.#learning.set(name, found)
    }
  }
}

function sayingOf({ learning: own, replica }: Saying): readonly string[] {
  const trainers = Object.entries(own).flatMap(([name, said]) => [
    `trainer:${name}`,
    JSON.stringify(said),
  ])
  if (replica === undefined) return trainers
  return [...trainers, `replica:${replica.name}`, JSON.stringify(replica.waits)]
}

function parsed<Value>(schema: z.ZodType<Value>, text: string): Value | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
