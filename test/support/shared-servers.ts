/**
 * Servers that the tests of a file share: started before the first of them, ended after the last,
 * also those that ran already when another did not start.
 */
import { afterAll, beforeAll } from 'vitest'

import { present } from '../../src/base/assert.ts'
import { anyBroker } from './kafka-server.ts'
import { RedisServer } from './redis-server.ts'
import { S3Server } from './s3-server.ts'

/** The first run of a machine fetches what it starts. */
const startLimitMs = 240_000

/** To be called where tests are declared; what is returned, in a test. */
export const brokerAndRedis = () =>
  shared(async (stack) => ({
    broker: stack.use(await anyBroker()),
    redis: stack.use(await RedisServer.start({ appendOnly: true })),
  }))

/** Likewise. */
export const redisAndS3 = () =>
  shared(async (stack) => ({
    redis: stack.use(await RedisServer.start({ appendOnly: true })),
    s3: stack.use(await S3Server.start()),
  }))

function shared<Servers>(start: (stack: AsyncDisposableStack) => Promise<Servers>): () => Servers {
  const stack = new AsyncDisposableStack()
  let servers: Servers | undefined
  beforeAll(async () => {
    servers = await start(stack)
  }, startLimitMs)
  afterAll(() => stack.disposeAsync())
  return () => present(servers, 'servers that have been started')
}
