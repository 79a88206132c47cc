/**
 * What comes back from Redis, or does not: an answer in time, a silence, or a refusal that asking
 * again would not change. For whoever asks again.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import type { RedisConnection } from './redis-connection.ts'

/** Nothing came in time, from a connection that seems to be there. */
export class Silence extends Error {}

/** What `work` gives. Throws `Silence`; an answer that comes later is dropped. */
export async function answerWithin<Answer>(
  limitMs: number,
  work: Promise<Answer>,
): Promise<Answer> {
  const timer = new AbortController()
  const { signal } = timer
  const late = sleep(limitMs, undefined, { signal, ref: false }).then(() => {
    throw new Silence(`no answer in ${limitMs} ms`)
  })
  late.catch(() => undefined)
  work.catch(() => undefined)
  try {
    return await Promise.race([work, late])
  } finally {
    timer.abort()
  }
}

const refusals = /\b(NOAUTH|WRONGPASS|NOPERM|WRONGTYPE|CROSSSLOT|unknown command|wrong number of)\b/
/** Errors of scripts on 6.2 begin with ERR whatever their cause. */
const passing =
  /\b(READONLY|OOM|MISCONF|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|UNBLOCKED)\b/

/**
 * Why the server refuses what was asked; undefined: asking again may help. Texts only: errors of
 * the client hold commands.
 */
export function refusalOf(error: unknown, { lastError }: RedisConnection): string | undefined {
  const reason = reasonOf(error)
  if (passing.test(reason)) return undefined
  if (refusals.test(reason) || reason.startsWith('ERR ')) return reason
  // A connection that is refused rejects what was to be sent without saying why.
  const cause = lastError?.message ?? ''
  return refusals.test(cause) ? cause : undefined
}

export const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
