/** Looking at checkpoints that are in a bucket, and rows out of them and into them. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { CheckpointCopies } from '../../src/trainer/checkpoint/checkpoint-copies.ts'
import { checkpointName } from '../../src/trainer/checkpoint/checkpoint.ts'
import { S3Objects } from '../../src/trainer/checkpoint/s3-objects.ts'
import { recording, run } from '../support/cli.ts'
import { redisAndS3 } from '../support/shared-servers.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const started = redisAndS3()

/** Of a process that has nothing but the bucket. */
function inBucket(prefix: string): readonly string[] {
  const { bucket, endpoint, credentials } = started().s3.settings
  const place = 'process.checkpoints.s3'
  const values = [
    'process.shape=distributed',
    'process.kafka.brokers=[127.0.0.1:1]',
    `process.redis.url=redis://127.0.0.1:${started().redis.port}`,
    'process.checkpoints.store=s3',
    `${place}.bucket=${bucket}`,
    `${place}.prefix=${prefix}`,
    `${place}.endpoint=${endpoint}`,
    `${place}.accessKeyId=${credentials?.accessKeyId}`,
    `${place}.secretAccessKey=${credentials?.secretAccessKey}`,
  ]
  return values.flatMap((value) => ['--set', value])
}

const inspect = (...flags: readonly string[]) =>
  run('inspect', 'checkpoint', '--json', ...flags).then(({ json }) => json)

test('a bucket is inspected, exported from and imported into as a directory is', async () => {
  using root = temporaryDirectory()
  const [data, files, elsewhere] = ['data', 'files', 'elsewhere'].map((name) =>
    join(root.path, name),
  )
  await run('replay', recording(join(root.path, 'clicks.csv')), '--data', data)
  const seen = await inspect('--data', data)
  expect(seen).toMatchObject({ users: 40 })

  const flags = [...inBucket('a/'), '--data', elsewhere]
  const empty = await run('inspect', 'checkpoint', ...flags)
  expect(empty.code).not.toBe(0)
  expect(empty.err.join('\n')).toContain('/checkpoints/a/')
  const copies = new CheckpointCopies({
    objects: new S3Objects(started().s3.settings),
    prefix: 'a/',
  })
  const { newest, stateDigest } = seen as { newest: number; stateDigest: string }
  await copies.write(join(data, 'checkpoints', checkpointName(newest)))
  expect(await inspect(...flags)).toMatchObject({ newest, stateDigest, users: 40 })
  expect(existsSync(elsewhere)).toBe(false)

  const exported = await run('export', 'tables', '--to', files, '--json', ...flags)
  expect(exported.json).toMatchObject({ checkpoint: newest })
  const imported = await run('import', 'tables', '--from', files, '--json', ...flags)
  expect(imported.code).toBe(0)
  // Under the lease that it was made with: nobody trains meanwhile.
  const found = await copies.list()
  expect(found.map(({ sequence }) => sequence)).toEqual([newest, newest])
  expect(found.at(-1)?.epoch).toBeGreaterThan(0)
  expect(await inspect(...flags)).toMatchObject({ stateDigest })
  copies.close()
}, 120_000)
