/** A trainer that goes on where one on another machine was killed, without a folder in common. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { CheckpointCopies } from '../../../src/trainer/checkpoint/checkpoint-copies.ts'
import { S3Objects } from '../../../src/trainer/checkpoint/s3-objects.ts'
import { RedisJournal } from '../../../src/trainer/journal/redis-journal.ts'
import { Trainer } from '../../../src/trainer/trainer-loop.ts'
import type { TrainerReport } from '../../../src/trainer/trainer-status.ts'
import { PartitionedLog } from '../../support/partitioned-log.ts'
import { newModel, takeFence } from '../../support/redis-sync.ts'
import { redisAndS3 } from '../../support/shared-servers.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import { settings, shopEvents, trainerModel } from '../../support/trainer.ts'

const started = redisAndS3()

const partitions = 4
const events = shopEvents(1_200)
const model = trainerModel()
const never = new AbortController().signal

/** A life on a machine of its own, whose partitions take turns in another order. */
async function machine(name: string, directory: string, seed: number) {
  const fence = await takeFence(name, started().redis.settings)
  const copies = new CheckpointCopies({
    objects: new S3Objects(started().s3.settings),
    prefix: `${name}/`,
    epoch: fence.epoch,
  })
  const reports: TrainerReport[] = []
  const trainer = await Trainer.create({
    model,
    process: settings(directory),
    reader: new PartitionedLog(events, partitions, seededRandom(seed)),
    clock: systemClock,
    report: (found) => void reports.push(found),
    copies,
    journalCopy: new RedisJournal({ model: name, connection: started().redis.settings, fence }),
  })
  return { trainer, copies, reports }
}

const expire = async (name: string): Promise<void> => {
  await started().redis.command('HSET', `freshet:{sync:${name}}:lease`, 'until', '0')
}

test('it learns the same bits, from the copies and the journal alone', async () => {
  using root = temporaryDirectory()
  const name = newModel()
  const first = await machine(name, join(root.path, 'a'), 1)
  await first.trainer.run({ signal: never, untilEnd: true, limitEvents: 500 })
  await first.trainer.run({ signal: never, untilEnd: true, limitEvents: 800 })
  const kept = await first.copies.list()
  // What follows is after its last checkpoint: as if it had been killed before the next.
  await first.trainer.run({ signal: never, untilEnd: true, limitEvents: 1_200 })
  const digest = await first.trainer.learner.digest()
  const written = await first.copies.list()
  expect(written.length).toBeGreaterThan(kept.length)
  const objects = new S3Objects(started().s3.settings)
  const newest = written.at(-1)?.sequence ?? 0
  for (const key of await objects.list(`${name}/checkpoint-${String(newest).padStart(12, '0')}`)) {
    await objects.remove(key)
  }
  objects.close()
  await first.trainer.close()
  await expire(name)

  const second = await machine(name, join(root.path, 'b'), 2)
  // From a full checkpoint and a delta to it.
  expect(second.trainer.status().events).toBe(800)
  expect(readdirSync(join(root.path, 'b', 'checkpoints')).length).toBeGreaterThan(1)
  await second.trainer.run({ signal: never, untilEnd: true })
  expect(await second.trainer.learner.digest()).toBe(digest)
  const told = second.reports.map(({ code }) => code).filter((code) => code !== 'rowsEvicted')
  expect(told).toEqual(['checkpointFetched', 'restored', 'engineChosen', 'checkpointWritten'])
  await second.trainer.close()
  second.copies.close()
  first.copies.close()
}, 120_000)

test('where Redis has lost the journal each event is still learned once', async () => {
  using root = temporaryDirectory()
  const name = newModel()
  const first = await machine(name, join(root.path, 'a'), 1)
  await first.trainer.run({ signal: never, untilEnd: true, limitEvents: 500 })
  await first.trainer.close()
  first.copies.close()
  await started().redis.command('FLUSHALL')
  const second = await machine(name, join(root.path, 'b'), 2)
  await second.trainer.run({ signal: never, untilEnd: true })
  expect(second.trainer.status()).toMatchObject({ events: 1_200 })
  expect(second.reports.map(({ code }) => code)).toContain('journalGap')
  await second.trainer.close()
  second.copies.close()
}, 120_000)
