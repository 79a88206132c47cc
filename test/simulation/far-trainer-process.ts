import { openRedisRowStore, type RedisRowStore } from '../../src/embedding/redis/redis-row-store.ts'
/**
 * A trainer with its rows in Redis, in a process of its own: trains to the end of a seeded stream
 * and prints the digest. Told to, it kills itself in the middle of a flush: the rows of the first
 * half of a batch are written then, and no mark.
 *
 *     node test/simulation/far-trainer-process.ts '{"directory", "connection", "events", "dieAtWrite"}'
 */
import type { RedisSettings } from '../../src/redis/redis-connection.ts'
import { far, openTrainer, wideEvents, wideRows, withCheckpoints } from '../support/far-trainer.ts'
import { MemoryLog } from '../support/trainer.ts'

export interface FarTrainerTask {
  readonly directory: string
  readonly connection: RedisSettings
  readonly events: number
  /** Writes of rows since this life began; 0: never. */
  readonly dieAtWrite: number
}

const text = process.argv[2] ?? '{}'
const task = JSON.parse(text) as FarTrainerTask
const options = { ...withCheckpoints(task.directory, 50), ...far(wideRows, task.connection) }
const redis = options.farRows!.redis
let writes = 0

function deadly(store: RedisRowStore): RedisRowStore {
  const write = store.write.bind(store)
  store.write = async (records) => {
    writes += 1
    if (writes !== task.dieAtWrite) return write(records)
    const rows = Math.floor(records.length / store.recordBytes / 2)
    await write(records.subarray(0, rows * store.recordBytes))
    process.kill(process.pid, 'SIGKILL')
    // Signals take a moment; nothing more must be written.
    return new Promise(() => undefined)
  }
  return store
}

await using subject = await openTrainer({
  reader: new MemoryLog(wideEvents(task.events)),
  process: options,
  openStore: async (table, recordBytes) =>
    deadly(await openRedisRowStore({ table, recordBytes, ...redis })),
})
await subject.runToEnd()
const codes = [...new Set(subject.reports.map(({ code }) => code))]
process.stdout.write(JSON.stringify({ digest: await subject.trainer.learner.digest(), codes }))
