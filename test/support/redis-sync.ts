/** Both ends of parameters in Redis, under a lease that does not run out while a test lasts. */
import { randomUUID } from 'node:crypto'

import type { RedisSettings } from '../../src/redis/redis-connection.ts'
import type { Delta } from '../../src/sync/delta.ts'
import type { Fence } from '../../src/sync/fence.ts'
import type { ApplyDelta, ParameterSubscriber } from '../../src/sync/parameter-sync.ts'
import { RedisPublisher, type RedisPublisherOptions } from '../../src/sync/redis/redis-publisher.ts'
import {
  RedisSubscriber,
  type RedisSubscriberOptions,
} from '../../src/sync/redis/redis-subscriber.ts'
import { RedisLeaseStore } from '../../src/trainer/lease/redis-lease.ts'
import type { SyncUnderTest } from '../contract/parameter-sync.ts'
import { until } from './redis-server.ts'

export const newModel = (): string => `test-${randomUUID()}`

/** A lease of ten minutes that nobody renews, whoever had it before. */
export async function takeFence(model: string, connection: RedisSettings): Promise<Fence> {
  const store = new RedisLeaseStore({ model, connection })
  try {
    const token = randomUUID()
    const answer = await store.acquire({ holder: 'test', token, ttlMs: 600_000 })
    if (!answer.isGranted) throw new Error(`the lease is held by ${answer.holder}`)
    return { epoch: answer.epoch, token }
  } finally {
    await store.close()
  }
}

/** Knows whether its reader is where the trainer is, or busy with getting there. */
export class WatchedSubscriber implements ParameterSubscriber {
  readonly #subscriber: RedisSubscriber
  sequence = 0
  isApplying = false
  isClosed = false

  constructor(options: RedisSubscriberOptions) {
    this.#subscriber = new RedisSubscriber(options)
  }

  subscribe(fromSequence: number, apply: ApplyDelta): Promise<void> {
    this.sequence = fromSequence
    return this.#subscriber.subscribe(fromSequence, async (delta, complete) => {
      this.isApplying = true
      this.sequence = complete ? delta.sequence : 0
      await apply(delta, complete)
      this.isApplying = false
    })
  }

  async close(): Promise<void> {
    this.isClosed = true
    await this.#subscriber.close()
  }
}

export const quickPublisher = { beatIntervalMs: 20, commandTimeoutMs: 5_000 } as const
export const quickSubscriber = {
  waitMs: 20,
  snapshotPollMs: 5,
  commandTimeoutMs: 5_000,
} as const

/** Contract suite's view of both ends. */
export async function openRedisSync(
  connection: RedisSettings,
  more: Partial<RedisPublisherOptions> = {},
): Promise<SyncUnderTest> {
  const model = newModel()
  const fence = await takeFence(model, connection)
  const publisher = new RedisPublisher({ model, connection, fence, ...quickPublisher, ...more })
  const subscribers: WatchedSubscriber[] = []
  let published = 1
  const publish = publisher.publish.bind(publisher)
  publisher.publish = async (delta: Delta) => {
    await publish(delta)
    published = delta.sequence
  }
  const connect = (): WatchedSubscriber => {
    const { epoch } = fence
    const subscriber = new WatchedSubscriber({ model, connection, epoch, ...quickSubscriber })
    subscribers.push(subscriber)
    return subscriber
  }
  return {
    publisher,
    connect,
    settled: () =>
      until('readers where the trainer is', () =>
        subscribers.every((one) => one.isClosed || one.isApplying || one.sequence === published),
      ),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(subscribers.map((one) => one.close()))
      await publisher.close()
    },
  }
}
