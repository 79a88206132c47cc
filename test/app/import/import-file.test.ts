/** `freshet import FILE`, as it is typed: into a service that runs, and into a directory. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { parquetWriteFile } from 'hyparquet-writer'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { RunningService } from '../../../src/app/compose.ts'
import { send, understand } from '../../../src/app/import/import-file.ts'
import { DirectoryTarget } from '../../../src/app/import/target.ts'
import { inspectLog } from '../../../src/app/inspection.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { run } from '../../support/cli.ts'
import { freePort } from '../../support/ports.ts'
import { Directory, smallConfig, startSmall } from '../small-service.ts'

const folder = new Directory()
const path = (name: string): string => join(folder.path, name)
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(path(name), content)
  return path(name)
}

let service: RunningService
let small: Awaited<ReturnType<typeof startSmall>>

beforeAll(async () => {
  small = await startSmall(smallConfig(path('service')))
  service = small.service
}, 60_000)

afterAll(async () => {
  await service.stop()
  folder[Symbol.dispose]()
})

const imported = (name: string, ...flags: readonly string[]) =>
  run('import', name, '--address', service.address, '--json', ...flags)

const clicks = Array.from({ length: 60 }, (_, i) => ({
  user: `u${i % 7}`,
  item: `i${i % 11}`,
  at: 1_700_000_000 + i,
}))

describe('the same events', () => {
  const csv = `user_id,item_id,timestamp\n${clicks.map((c) => `${c.user},${c.item},${c.at}`).join('\n')}\n`
  const tsv = clicks.map((c) => `${c.user}\t${c.item}\t5\t${c.at}`).join('\n')
  const shaped = clicks
    .map((c) =>
      JSON.stringify({ customer: { id: c.user }, sku: c.item, when: new Date(c.at * 1_000) }),
    )
    .join('\n')
  const parquet = (name: string): string => {
    parquetWriteFile({
      filename: path(name),
      rowGroupSize: 25,
      columnData: [
        { name: 'user', data: clicks.map((c) => c.user), type: 'STRING' },
        { name: 'item', data: clicks.map((c) => c.item), type: 'STRING' },
        { name: 'time', data: clicks.map((c) => new Date(c.at * 1_000)), type: 'TIMESTAMP' },
      ],
    })
    return path(name)
  }
  test.each([
    ['CSV', () => file('clicks.csv', csv), []],
    ['gzip', () => file('clicks.csv.gz', gzipSync(csv)), []],
    ['TSV without a header', () => file('clicks.tsv', tsv), ['--map', 'user=1,item=2,time=4:s']],
    ['Parquet', () => parquet('clicks.parquet'), []],
    [
      'NDJSON of its own shape',
      () => file('clicks.ndjson', shaped),
      ['--map', 'user=customer.id,item=sku,time=when'],
    ],
  ])('come out of %s', async (_, make, flags) => {
    const { json, code, err } = await run('import', make(), '--dry-run', '--json', ...flags)
    expect([code, err]).toEqual([0, []])
    expect(json).toMatchObject({
      rows: 60,
      good: 60,
      from: clicks[0]?.at * 1_000,
      to: 1_700_000_059_000,
      firstEvents: [
        { kind: 'interaction', userId: 'u0', itemId: 'i0', type: 'click' },
        { userId: 'u1', itemId: 'i1', timestamp: 1_700_000_001_000 },
        { userId: 'u2' },
      ],
    })
  })
})

test('a file is imported once, learned, and recommended from', { timeout: 60_000 }, async () => {
  const items = path('films.dat')
  writeFileSync(
    items,
    Buffer.from('i1::Alien (1979)::Horror|Sci-Fi\ni2::Caf\xe9::Drama\n', 'latin1'),
  )
  const films = await imported(items, '--as', 'items', '--encoding', 'latin1', '--no-header')
  expect(films.json).toMatchObject({ sent: 2, complete: true })
  const ratings = file(
    'ratings.dat',
    clicks.map((c) => `${c.user}::${c.item}::5::${c.at}`).join('\n'),
  )
  const flags = ['--map', 'user=1,item=2,weight=3,time=4:s']
  expect((await imported(ratings, ...flags)).json).toMatchObject({ sent: 60, refused: 0 })
  expect((await imported(ratings, ...flags)).json).toMatchObject({ sent: 0, before: 60 })
  await small.settled(60)
  const metrics = await small.client.metrics()
  expect(metrics.sum('freshet_trainer_examples_total')).toBe(60)
  const asked = await fetch(`${service.address}/v1/items/i2`)
  expect(await asked.json()).toMatchObject({
    features: { title: 'Café', categories: ['Drama'] },
    attributes: { title: 'Café' },
  })
  const { items: best } = await small.client.recommend('u1', { n: 3 })
  // It has had the nine others.
  expect(best.map(({ id }) => id).toSorted()).toEqual(['i5', 'i9'])
  // However it is said what the columns are.
  const reworded = ['--map', 'itemId=2,timestamp=4:s,weight=3,userId=1']
  expect((await imported(ratings, ...reworded)).json).toMatchObject({ sent: 0, before: 60 })
  expect((await imported(ratings, ...flags, '--again')).json).toMatchObject({ sent: 60 })
})

test('rows in error are told, kept, and reject none of their neighbours', async () => {
  const rows = ['user,item,time', 'ada,a,1700000000', ',b,1700000001', 'bob,c,yesterday']
  const rejects = path('rejects.ndjson')
  const { json, code } = await imported(file('mixed.csv', rows.join('\n')), '--rejects', rejects)
  expect(code).toBe(0)
  expect(json).toMatchObject({
    sent: 1,
    rejected: 2,
    firstRejected: [
      { line: 3, path: 'user', reason: 'is empty' },
      { line: 4, path: 'time', reason: 'expected a time, not "yesterday"' },
    ],
  })
  const lines = readFileSync(rejects, 'utf8').trim().split('\n')
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { line: 3, cells: ['', 'b', '1700000001'] },
    { line: 4 },
  ])
})

test('a person reads what was understood, and what to do', async () => {
  const orders = '{"customer": {"id": "c1"}, "sku": "a"}\n'
  const { text } = await run('import', file('orders.ndjson', orders), '--dry-run')
  expect(text).toContain('orders.ndjson: NDJSON; 1 rows as events')
  expect(text).toMatch(/user +customer\.id +text/)
  expect(text).toContain('no row has a time: they count as happening when they are taken')
  const wrong = await run('import', path('orders.ndjson'), '--map', 'user=custmer.id,item=sku')
  expect(wrong.code).toBe(2)
  expect(wrong.err.join()).toContain('did you mean "customer.id"?')
  expect((await run('import', path('none.csv'))).code).toBe(3)
  const old = file('old.csv', 'user,item,time\na,b,2020-01-01\n')
  expect((await run('import', old, '--dry-run')).text).toContain('90 days are forgotten, unless')
})

test('one that was broken off goes on where it stopped', async () => {
  const rows = Array.from({ length: 5_000 }, (_, i) => `u${i % 50},i${i % 60},${1_700_000_000 - i}`)
  const config = smallConfig(path('stopped'))
  const stop = new AbortController()
  const options = (signal: AbortSignal) =>
    ({
      file: path('many.csv'),
      kind: 'events',
      type: 'click',
      source: {},
      sort: true,
      again: false,
      maxFutureMs: 0,
      retentionMs: 1e12,
      clock: systemClock,
      signal,
      bar: {
        show: (what: string) => void (what.startsWith('sending') && stop.abort()),
        [Symbol.dispose]: () => {},
      },
    }) as const
  file('many.csv', ['user,item,time', ...rows].join('\n'))
  {
    await using target = await DirectoryTarget.open(config)
    const understood = await understand(options(stop.signal))
    expect(await send(understood, target)).toMatchObject({ sent: 2_000, complete: false })
  }
  const more = [path('many.csv'), '--data', path('stopped'), '--json']
  expect((await run('import', ...more)).json).toMatchObject({ sent: 3_000, before: 2_000 })
  const { events, end } = await inspectLog(config, { from: 0, limit: 10_000 })
  expect([end, (events as unknown[]).length]).toEqual(['5000', 5_000])
  const times = (events as { timestamp: number }[]).map(({ timestamp }) => timestamp)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
})

test('a log that a service has is refused', async () => {
  const { code, err } = await run('import', path('clicks.csv'), '--data', path('service'))
  expect([code, err.join()]).toEqual([3, expect.stringContaining('LOG_LOCKED')])
})

test('where no service listens is said, with its address', async () => {
  const given = file('alone.csv', 'user,item\na,b\n')
  const address = `http://127.0.0.1:${await freePort()}`
  const { code, err } = await run('import', given, '--address', address)
  expect(code).toBe(1)
  expect(err.join()).toContain(`REQUEST_FAILED: a request to import failed: ${address}: connect`)
})
