import { ServiceError } from '../../src/base/errors.ts'
/**
 * A trainer's end of the parameters in a process of its own, to be stopped and killed: takes the
 * lease, prints `held` with its epoch, publishes delta after delta until another one has the lease,
 * and prints `refused` with the code of the error.
 *
 *     node test/simulation/lease-holder-process.ts '{"model", "connection", "ttlMs"}'
 */
import { seededRandom } from '../../src/base/random.ts'
import type { RedisSettings } from '../../src/redis/redis-connection.ts'
import { RedisPublisher } from '../../src/sync/redis/redis-publisher.ts'
import { acquireLease } from '../../src/trainer/lease/lease.ts'
import { RedisLeaseStore } from '../../src/trainer/lease/redis-lease.ts'
import { RowWriter } from '../support/parameters.ts'

export interface LeaseHolderTask {
  readonly model: string
  readonly connection: RedisSettings
}

const text = process.argv[2] ?? '{}'
const { model, connection } = JSON.parse(text) as LeaseHolderTask
const store = new RedisLeaseStore({ model, connection })
const lease = await acquireLease({ store, holder: `process ${process.pid}` })
const publisher = new RedisPublisher({ model, connection, fence: lease.fence })
const writer = new RowWriter()
publisher.onResync(() => writer.snapshot())
const random = seededRandom(1)
process.stdout.write(`held ${lease.epoch}\n`)
try {
  for (;;) {
    writer.change(random)
    await publisher.publish(writer.delta())
  }
} catch (error) {
  process.stdout.write(`refused ${error instanceof ServiceError ? error.code : String(error)}\n`)
}
await publisher.close()
await lease.release()
await store.close()
