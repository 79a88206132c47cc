import { existsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { begin, recording, run } from '../../support/cli.ts'
import { Directory, smallShop } from '../small-service.ts'

const small = smallShop.flatMap((override) => ['--set', override])
const quiet = ['--set', 'process.logging.level=silent']

/** Waits for a line that holds `text`. */
async function until(lines: readonly string[], text: string): Promise<string> {
  for (let i = 0; i < 1_000; i += 1) {
    const found = lines.find((line) => line.includes(text))
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`no line with ${text} in ${lines.join('\n')}`)
}

const digest = (json: unknown): unknown => (json as { stateDigest: string }).stateDigest

const named = {
  machine: { cores: expect.any(Number) },
  commit: expect.any(String),
  config: expect.anything(),
}

describe('freshet start', { timeout: 60_000 }, () => {
  test('listens, and stops when told, with a report; then inspect looks inside', async () => {
    using directory = new Directory()
    const flags = ['--data', directory.path, ...small, ...quiet]
    const started = begin('start', '--json', '--port', '0', ...flags)
    const { address } = JSON.parse(await until(started.out, 'address')) as { address: string }
    const body = JSON.stringify({ kind: 'interaction', userId: 'u', itemId: 'i', type: 'click' })
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${address}/v1/events`, { method: 'POST', headers, body })
    expect(response.status).toBe(202)
    process.emit('SIGTERM', 'SIGTERM')
    await started.ended
    expect(started.code()).toBe(0)
    expect(JSON.parse(started.out.at(-1) ?? '')).toMatchObject({ events: 1, examples: 1, ...named })

    const look = async (...what: string[]) =>
      (await run('inspect', ...what, '--json', ...flags)).json
    expect(await look('checkpoint')).toMatchObject({ examples: 1, ...named })
    expect(await look('log', '--limit', '5')).toMatchObject({ events: [{ userId: 'u' }] })
    expect(await look('table', 'user', '--user', 'u')).toMatchObject({ found: [{ present: true }] })
    expect(await look('item', 'i')).toMatchObject({ interactions: 1 })
    expect(await look('user', 'u')).toMatchObject({ history: [{ itemId: 'i' }] })
    const readable = await run('inspect', 'item', 'i', ...flags)
    expect(readable.text).toMatch(/^handle +0\n/)
    const unknown = await run('inspect', 'user', 'nobody', ...flags)
    expect(unknown.err.join()).toMatch(/^freshet: USER_UNKNOWN: /)
  })

  test('ends with the code for the data directory when that cannot be used', async () => {
    using directory = new Directory()
    const file = join(directory.path, 'file')
    writeFileSync(file, '')
    const { code, err } = await run('start', '--data', file)
    expect([code, err.join()]).toEqual([3, expect.stringMatching(/^freshet: DATA_UNUSABLE: /)])
  })
})

describe('freshet demo', { timeout: 60_000 }, () => {
  test('runs as long as told and cleans up behind itself', async () => {
    const shop = ['--users', '20', '--items', '150', '--rate', '100']
    const { text, code } = await run('demo', '--seconds', '1', '--port', '0', ...shop, ...small)
    expect(code).toBe(0)
    expect(text).toMatch(/curl 'http:\/\/127\.0\.0\.1:\d+\/v1\/recommendations\/user-1\?n=5'/)
    expect(text).toContain('150 items are on the shelves')
    const [, directory = ''] = /its data lies in (\S+)/.exec(text) ?? []
    expect(directory).not.toBe('')
    expect(existsSync(directory)).toBe(false)
  })
})

describe('recorded interactions', { timeout: 60_000 }, () => {
  test('are replayed, with the same digest for any number of threads', async () => {
    using directory = new Directory()
    const file = recording(join(directory.path, 'clicks.csv'))
    const flags = ['--json', '--set', 'model.evaluation.warmupEvents=100']
    const one = await run('replay', file, ...flags, '--threads', '1', '--limit', '800')
    expect(one.json).toMatchObject({ events: 800, progressive: { evaluated: 175 }, ...named })
    const two = await run('replay', file, ...flags, '--threads', '2', '--limit', '800')
    expect(digest(two.json)).toBe(digest(one.json))
    expect(existsSync(join(tmpdir(), `freshet-replay-${process.pid}`))).toBe(false)
    const kept = ['--data', join(directory.path, 'kept'), '--no-restrict']
    const half = await run('replay', file, ...flags, ...kept, '--limit', '512')
    expect(half.json).toMatchObject({ events: 512, resumedFrom: 0 })
    const whole = await run('replay', file, ...flags, ...kept, '--limit', '800')
    expect(whole.json).toMatchObject({ events: 800, resumedFrom: 512 })
    expect(digest(whole.json)).toBe(digest(one.json))
  })

  test('are evaluated offline by a split, or by two files', async () => {
    using directory = new Directory()
    const file = recording(join(directory.path, 'clicks.csv'))
    const split = await run('evaluate', '--data', file, '--split', 'temporal:0.8', '--json')
    expect(split.json).toMatchObject({ evaluated: 180, counts: { epochs: 10 }, ...named })
    const flags = [
      '--separator',
      ',',
      '--format',
      'rows',
      '--epochs',
      '1',
      '--mask-train',
      '--json',
    ]
    const columns = ['--columns', 'user=user_id,item=item_id,time=timestamp:s']
    const files = await run('evaluate', '--train', file, '--test', file, ...columns, ...flags)
    expect(files.json).toMatchObject({ evaluated: 900, metrics: { hr100: 0 } })
  })

  test.each([
    ['evaluate', '--data', 'x'],
    ['evaluate', '--data', 'x', '--split', 'half'],
    ['evaluate', '--train', 'x'],
  ])('%s %s %s %s is refused with what was expected', async (...args) => {
    const { code, err } = await run(...args)
    expect([code, err.join()]).toEqual([2, expect.stringContaining('expected')])
  })

  test('that cannot be read are an error', async () => {
    const { code, err } = await run('replay', '/none.csv')
    expect([code, err.join()]).toEqual([
      expect.any(Number),
      expect.stringMatching(/freshet: [A-Z_]+: /),
    ])
    expect(code).not.toBe(0)
  })
})

describe('freshet bench', { timeout: 120_000 }, () => {
  const load = ['--items', '300', '--users', '50', '--warmup', '0.2', '--seconds', '1', ...small]

  test('http measures a service of its own', async () => {
    const { json } = await run(
      'bench',
      'http',
      '--json',
      '--rate',
      '50',
      '--events',
      '100',
      ...load,
    )
    expect(json).toMatchObject({
      recommendations: { errors: 0, p99Ms: expect.any(Number) },
      events: { errors: 0, p99Ms: expect.any(Number) },
      ...named,
    })
  })

  test('freshness measures every stage', async () => {
    const { json } = await run('bench', 'freshness', '--json', '--events', '200', ...load)
    const stage = {
      p50Ms: expect.any(Number),
      p99Ms: expect.any(Number),
      maxMs: expect.any(Number),
    }
    expect(json).toMatchObject({
      fact: stage,
      parameter: stage,
      index: stage,
      observedFact: { errors: 0 },
      alignment: { recall10: expect.any(Number) },
      ...named,
    })
  })

  test('alignment audits the index all along, under every budget', async () => {
    const flags = ['--events', '200', '--rate', '20', '--every', '0.3', '--budgets', '0.5,2']
    const { json } = await run('bench', 'alignment', '--json', ...flags, ...load)
    const ofRun = {
      leastRecall10: expect.any(Number),
      recommendations: { errors: 0 },
      series: expect.arrayContaining([
        expect.objectContaining({ recall10: expect.any(Number), recall100: expect.any(Number) }),
      ]),
    }
    expect(json).toMatchObject({
      runs: [
        { embedPerSecond: 25_000, ...ofRun },
        { embedPerSecond: 100_000, ...ofRun },
      ],
      ...named,
    })
  })

  test('a service that cannot start is an error with its last words', async () => {
    const { code, err } = await run('bench', 'http', '--set', 'process.log.segmentBytes=1')
    expect([code, err.join()]).toEqual([2, expect.stringContaining('segmentBytes')])
  })

  test('other users every day, ten times over, fit the same tables', async () => {
    const flags = ['--rows', '5000', '--users', '1024', '--days', '14']
    const { json } = await run('bench', 'turnover', ...flags, '--json')
    const { table, learner } = json as Record<'table' | 'learner', Record<string, number>>
    for (const { turnover, rowsRatio } of [table, learner]) {
      expect(turnover).toBeGreaterThan(10)
      expect(rowsRatio).toBeGreaterThan(0.85)
      expect(rowsRatio).toBeLessThan(1.15)
    }
    expect(learner['heapRatio']).toBeLessThan(1.1)
  })

  test('runs the benchmarks of the rooms', async () => {
    const { json } = await run('bench', 'table', '--rows', '2000', '--dim', '8', '--json')
    expect(json).toMatchObject({ find: { rowsPerSecond: expect.any(Number) }, ...named })
  })
})
