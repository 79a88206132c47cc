/** What is promised of a full disk, on a real file system that is full. */
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import type { Event } from '../../../src/stream/event.ts'
import { FileLog } from '../../../src/stream/files/file-log.ts'
import { BatchJournal } from '../../../src/stream/files/journal.ts'
import { readAll } from '../../contract/event-log.ts'
import { interactions } from '../../support/events.ts'
import { smallDisk } from '../../support/small-disk.ts'

const probe = smallDisk(64)
const canMount = probe !== undefined
probe?.[Symbol.dispose]()

/** Leaves about `bytes` free. */
function fill(directory: string, bytes: number): string {
  const { bavail, bsize } = statfsSync(directory)
  const path = join(directory, 'ballast')
  writeFileSync(path, Buffer.alloc(Math.max(0, bavail * bsize - bytes)))
  return path
}

test.runIf(canMount)(
  'the log refuses appends, loses nothing acknowledged, and goes on',
  async () => {
    using disk = smallDisk(512)
    const path = disk?.path ?? ''
    const directory = join(path, 'log')
    const log = await FileLog.open({ directory, fsync: 'always', segmentBytes: 40_000 })
    const acknowledged: Event[] = []
    const refused: unknown[] = []
    const append = async (): Promise<void> => {
      const events = interactions(50, acknowledged.length)
      await log.append(events).then(
        () => acknowledged.push(...events),
        (error: unknown) => refused.push(error),
      )
    }
    for (let i = 0; i < 1_000 && refused.length < 3; i += 1) await append()
    const full = { code: 'LOG_DISK_FULL', retryable: true }
    expect(refused).toMatchObject([full, full, full])
    expect(acknowledged.length).toBeGreaterThan(1_000)
    expect((await readAll(log, await log.start())).events).toEqual(acknowledged)
    const segments = await log.segments()
    await log.truncateBefore(String(segments[2].first))
    await append()
    expect(refused).toHaveLength(3)
    await log.close()

    const again = await FileLog.open({ directory, fsync: 'always' })
    const start = await again.start()
    const { events } = await readAll(again, start)
    expect(events).toEqual(acknowledged.slice(Number(start[0])))
    await again.close()
  },
)

test.runIf(canMount)(
  'a log and a journal that cannot be made say so, and can be made later',
  async () => {
    using disk = smallDisk(64)
    const path = disk?.path ?? ''
    const ballast = fill(path, 0)
    const full = {
      code: 'LOG_DISK_FULL',
      message: expect.stringMatching(/^no space left in \S+; nothing was appended$/),
    }
    const open = () => FileLog.open({ directory: join(path, 'log'), fsync: 'never' })
    await expect(open()).rejects.toMatchObject(full)
    expect(() => new BatchJournal({ path: join(path, 'journal') })).toThrow(
      expect.objectContaining(full),
    )
    rmSync(ballast)
    await (await open()).close()
    new BatchJournal({ path: join(path, 'journal') }).close()
  },
)

test.runIf(canMount)('the journal writes an entry whole or not at all', () => {
  using disk = smallDisk(64)
  const path = disk?.path ?? ''
  const journal = new BatchJournal({ path: join(path, 'journal') })
  const entry = { kind: 'command', name: 'note', payload: { text: 'x'.repeat(3_000) } } as const
  let written = 0
  const append = (): void => {
    journal.append(entry)
    written += 1
  }
  expect(() => {
    for (;;) append()
  }).toThrow(expect.objectContaining({ code: 'LOG_DISK_FULL' }))
  expect(written).toBeGreaterThan(5)
  expect(journal.entries(0)).toHaveLength(written)
  journal.close()
  const torn: number[] = []
  const again = new BatchJournal({
    path: join(path, 'journal'),
    onTornTail: (bytes) => torn.push(bytes),
  })
  expect([again.next, torn]).toEqual([written, []])
  again.close()
})
