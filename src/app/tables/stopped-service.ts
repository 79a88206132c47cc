/**
 * Work on a data directory that nobody trains on meanwhile: under the lock of its log, or, where
 * trainers are found by their lease, under the lease. So it is refused while a service runs, and a
 * service that starts meanwhile is refused, or stands by.
 */
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { pid } from 'node:process'

import { ServiceError } from '../../base/errors.ts'
import { lockDirectory } from '../../stream/files/directory-lock.ts'
import { acquireLease, type Lease } from '../../trainer/lease/lease.ts'
import { claimFolder } from '../../trainer/lease/own-folder.ts'
import { RedisLeaseStore } from '../../trainer/lease/redis-lease.ts'
import type { Config } from '../config/config-schema.ts'
import { redisSettings } from '../config/servers-options.ts'
import { makeDirectory } from '../make-directory.ts'
import { dataPaths } from '../options.ts'

/** What there is under a lease. */
export interface Held {
  readonly epoch: number
  /** Among the checkpoints: whoever has lost the lease can put nothing in its place from there. */
  readonly workshop: string
}

/** Of a lease that nobody renews any more. */
const waitLeases = 2

/** Throws `LOG_LOCKED`, `TRAINER_ACTIVE`, `LEASE_*`. */
export async function whileStopped<Result>(
  config: Config,
  work: (held: Held | undefined) => Promise<Result>,
): Promise<Result> {
  const { shape, dataDirectory } = config.process
  if (shape === 'distributed') return await underLease(config, work)
  const { log } = dataPaths(dataDirectory)
  const lock = existsSync(log) ? lockDirectory(log) : undefined
  try {
    return await work(undefined)
  } finally {
    lock?.release()
  }
}

async function underLease<Result>(
  { model, process }: Config,
  work: (held: Held) => Promise<Result>,
): Promise<Result> {
  const store = new RedisLeaseStore({
    model: process.redis.tag ?? model.name,
    connection: redisSettings(process.redis, 'process.redis'),
  })
  try {
    const lease = await leaseOf(store, process.trainer.leaseMs)
    try {
      const { checkpoints } = dataPaths(process.dataDirectory)
      makeDirectory(checkpoints)
      const { epoch } = lease
      return await work({ epoch, workshop: await claimFolder(checkpoints, epoch) })
    } finally {
      await lease.release()
    }
  } finally {
    await store.close()
  }
}

async function leaseOf(store: RedisLeaseStore, ttlMs: number): Promise<Lease> {
  const signal = AbortSignal.timeout(waitLeases * ttlMs)
  let active = ''
  try {
    return await acquireLease({
      store,
      holder: `${hostname()}:${pid}`,
      ttlMs,
      signal,
      onWait: (holder) => {
        active = holder
      },
    })
  } catch (cause) {
    if (!signal.aborted || active === '') throw cause
    throw new ServiceError('TRAINER_ACTIVE', { holder: active }, { cause })
  }
}
