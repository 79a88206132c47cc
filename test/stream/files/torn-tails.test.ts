/** What opening cuts off the end of a log is beside it. */
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { FileLog, type TornTail } from '../../../src/stream/files/file-log.ts'
import { segmentName } from '../../../src/stream/files/log-segment.ts'
import { readAll } from '../../contract/event-log.ts'
import { interactions } from '../../support/events.ts'
import { coded, FaultyFiles } from '../../support/faulty-files.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const segmentOf = (directory: string): string => join(directory, segmentName(0))
const tornIn = (directory: string): readonly string[] =>
  readdirSync(directory).filter((name) => name.endsWith('.torn'))

async function opened(directory: string, files?: FaultyFiles) {
  const tails: TornTail[] = []
  const onTornTail = (tail: TornTail): void => void tails.push(tail)
  const log = await FileLog.open({
    directory,
    fsync: 'always',
    onTornTail,
    ...(files && { files }),
  })
  return { log, tails }
}

test('a last record that the disk has damaged is cut off and kept', async () => {
  using root = temporaryDirectory()
  const first = await opened(root.path)
  await first.log.append(interactions(2))
  await first.log.append(interactions(3, 2))
  await first.log.close()
  const bytes = readFileSync(segmentOf(root.path))
  bytes[bytes.length - 4] ^= 1
  writeFileSync(segmentOf(root.path), bytes)

  const again = await opened(root.path)
  const [tail] = again.tails
  expect((await readAll(again.log, await again.log.start())).events).toEqual(interactions(2))
  const kept = readFileSync(join(root.path, tail.kept ?? ''))
  expect(kept.equals(bytes.subarray(tail.byte))).toBe(true)
  expect(kept).toHaveLength(tail.bytes)
  await again.log.append(interactions(3, 2))
  await again.log.close()
  const last = await opened(root.path)
  expect(last.tails).toEqual([])
  expect((await readAll(last.log, await last.log.start())).events).toEqual(interactions(5))
  await last.log.close()
})

test('of many the newest stay', async () => {
  using root = temporaryDirectory()
  for (let i = 0; i < 11; i += 1) {
    const { log } = await opened(root.path)
    await log.append(interactions(1, i))
    await log.close()
    appendFileSync(segmentOf(root.path), `half ${i}`)
  }
  const { log, tails } = await opened(root.path)
  expect(tornIn(root.path)).toHaveLength(8)
  expect(readFileSync(join(root.path, tails[0].kept ?? ''), 'utf8')).toBe('half 10')
  await log.close()
})

test('a log whose tail cannot be kept is opened all the same', async () => {
  using root = temporaryDirectory()
  const first = await opened(root.path)
  await first.log.append(interactions(2))
  await first.log.close()
  appendFileSync(segmentOf(root.path), 'half')
  const files = new FaultyFiles()
  files.faults.set('write', coded('EIO'))
  const { log, tails } = await opened(root.path, files)
  expect(tails).toMatchObject([{ bytes: 4 }])
  expect(tails[0].kept).toBeUndefined()
  expect((await readAll(log, await log.start())).events).toEqual(interactions(2))
  await log.close()
})
