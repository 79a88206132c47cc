import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Interaction } from '../../../src/stream/event.ts'
import { RecordedLog, type RecordedLogOptions } from '../../../src/stream/recorded/recorded-log.ts'
import { atOnce, readAll, testEventLogReader } from '../../contract/event-log.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

type Options = Partial<RecordedLogOptions>

/** A log over files with these contents. */
function recording(contents: readonly (string | Buffer)[], options: Options = {}) {
  const directory = temporaryDirectory()
  const files = contents.map((content, i) => {
    const path = join(directory.path, `recording-${i}`)
    writeFileSync(path, content)
    return path
  })
  const rejectsFile = join(directory.path, 'rejects', 'rejects.ndjson')
  const reader = new RecordedLog({ files, rejectsFile, ...options })
  return {
    reader,
    rejects: () => {
      const lines = readFileSync(rejectsFile, 'utf8').split('\n').slice(0, -1)
      return lines.map((line): Record<string, unknown> => JSON.parse(line))
    },
    [Symbol.asyncDispose]: async () => {
      await reader.close()
      directory[Symbol.dispose]()
    },
  }
}

async function eventsOf(contents: readonly (string | Buffer)[], options: Options = {}) {
  await using subject = recording(contents, options)
  const { events } = await readAll(subject.reader, {}, 7)
  return { events: events as Interaction[], rejected: Object.fromEntries(subject.reader.rejected) }
}

const csv = (events: readonly Interaction[]): string =>
  ['time,item_id,user_id', ...events.map((e) => `${e.timestamp},${e.itemId},${e.userId}`)].join(
    '\n',
  )

const columns = 'user=user_id,item=item_id,time=time:ms'

describe('recorded log', () => {
  testEventLogReader((events) => Promise.resolve(recording([csv(events)], { columns })))
})

describe('recorded log over two files, compressed', () => {
  testEventLogReader((events) => {
    const halves = [events.slice(0, 11), events.slice(11)]
    return Promise.resolve(
      recording(
        halves.map((half) => gzipSync(csv(half))),
        { columns },
      ),
    )
  })
})

describe('recorded log of sequences', () => {
  test('a line is a user and items; an offset is the ordinal of an item', async () => {
    await using subject = recording(['u a b c\nv b\n\nw\nx c d\n'], {
      format: 'sequences',
      type: 'play',
    })
    const start = await subject.reader.start()
    const { events, offsets, next } = await readAll(subject.reader, start, 2)
    expect(
      events.map((e) => ('itemId' in e && 'userId' in e ? [e.userId, e.itemId, e.timestamp] : e)),
    ).toEqual([
      ['u', 'a', 0],
      ['u', 'b', 1_000],
      ['u', 'c', 2_000],
      ['v', 'b', 3_000],
      ['x', 'c', 5_000],
      ['x', 'd', 6_000],
    ])
    expect(events[0]).toMatchObject({ type: 'play' })
    expect(offsets).toEqual(['0', '1', '2', '3', '5', '6'])
    expect(next).toEqual({ 0: '7' })
    expect(await subject.reader.end()).toEqual(next)
    expect(Object.fromEntries(subject.reader.rejected)).toEqual({ 'no item id': 1 })
    for (const [i, offset] of offsets.entries()) {
      const rest = await readAll(subject.reader, { 0: offset }, 3)
      expect(rest.events).toEqual(events.slice(i))
    }
  })
})

test('separators are recognised, and columns without a header counted from 1', async () => {
  const rows = [
    ['1', '10', '5', '978300760'],
    ['2', '20', '3', '978302109'],
  ]
  for (const separator of ['\t', '::', ',', ';', '|', ' ']) {
    const text = rows.map((row) => row.join(separator)).join('\r\n')
    const plain = await eventsOf([text])
    expect(plain.events.map((e) => [e.userId, e.itemId, e.timestamp, e.type])).toEqual([
      ['1', '10', 978_300_760_000, 'click'],
      ['2', '20', 978_302_109_000, 'click'],
    ])
    const mapped = await eventsOf([text], { columns: 'user=2,item=1,weight=3,time=4:ms' })
    expect(mapped.events.map((e) => [e.userId, e.itemId, e.weight, e.timestamp])).toEqual([
      ['10', '1', 5, 978_300_760],
      ['20', '2', 3, 978_302_109],
    ])
  }
})

test('common names of columns are found without a mapping', async () => {
  const header = 'click_timestamp,user_id,session_id,click_article_id,event_type'
  const { events } = await eventsOf([`${header}\n1506826800026,59,1,234853,view\n`])
  expect(events).toEqual([
    {
      kind: 'interaction',
      userId: '59',
      itemId: '234853',
      type: 'view',
      timestamp: 1_506_826_800_026,
      acceptedAt: 1_506_826_800_026,
    },
  ])
})

test.each([
  ['user_id,movie_id,rating,timestamp', '7,9,5,1000'],
  ['timestamp,visitorid,event,itemid,transactionid', '1000,7,view,9,'],
  ['session_id,userId,productId,event_time', 'x,7,9,1000'],
  ['SessionId,ItemId,Time', '7,9,1000'],
])('the columns of %s are recognised', async (header, row) => {
  const { events } = await eventsOf([`${header}\n${row}\n`])
  expect(events).toMatchObject([{ userId: '7', itemId: '9', timestamp: 1_000_000 }])
})

test('fields that somebody has a use for become context when nothing is said of it', async () => {
  const text = 'user,item,time,os,country\nu,a,1,ios,de\n'
  const context = async (options: Options) => {
    const { events } = await eventsOf([text], { contextFields: ['os', 'weather'], ...options })
    return events[0].context
  }
  expect(await context({})).toEqual({ os: 'ios' })
  expect(await context({ columns: 'user=user,item=item' })).toEqual({ os: 'ios' })
  expect(await context({ columns: 'user=user,item=item,context=country' })).toEqual({
    country: 'de',
  })
  const headless = await eventsOf(['1 2 3\n'], { contextFields: ['os'] })
  expect(headless.events[0].context).toBeUndefined()
})

test('columns become context, those named or all the rest; empty fields are left out', async () => {
  const text = 'user,item,time,os,country,kind\nu,a,1,ios,,x\nu,b,2,,de,y\n'
  const contexts = async (context: string) => {
    const { events } = await eventsOf([text], {
      columns: `user=user,item=item,time=time,type=kind,context=${context}`,
    })
    return events.map((event) => event.context)
  }
  expect(await contexts('os,country')).toEqual([{ os: 'ios' }, { country: 'de' }])
  expect(await contexts('*')).toEqual([{ os: 'ios' }, { country: 'de' }])
  expect(await contexts('country')).toEqual([{}, { country: 'de' }])
  const headless = await eventsOf(['1,2,3,x\n'], { columns: 'user=1,item=2,time=3,context=*' })
  expect(headless.events[0]?.context).toEqual({ column4: 'x' })
})

const times = async (time: string, values: readonly string[]) => {
  const text = `user,item,t\n${values.map((value) => `u,i,${value}`).join('\n')}`
  const { events } = await eventsOf([text], { columns: `user=user,item=item,${time}` })
  return events.map((event) => event.timestamp)
}

test('times in every unit, and none at all', async () => {
  expect(
    await times('time=t', ['978300760', '978300760000', '2020-01-01T00:00:00Z', '1.5']),
  ).toEqual([978_300_760_000, 978_300_760_000, 1_577_836_800_000, 1_500])
  expect(await times('time=t:s', ['1.5', '0'])).toEqual([1_500, 0])
  expect(await times('time=t:ms', ['1500.4'])).toEqual([1_500])
  expect(await times('time=t:rfc3339', ['2020-01-01T00:00:00+01:00'])).toEqual([1_577_833_200_000])
  expect(await times('weight=t', ['1', '2'])).toEqual([0, 1_000])
})

test('quoted fields hold separators, quotes and line ends', async () => {
  const text = 'user,item,time\n"a, b","say ""hi""",1\n"two\nlines",5" tablet,2\nu,"c",3'
  const { events, rejected } = await eventsOf([text], { columns: 'user=user,item=item,time=time' })
  expect(events.map((e) => [e.userId, e.itemId])).toEqual([
    ['a, b', 'say "hi"'],
    ['two\nlines', '5" tablet'],
    ['u', 'c'],
  ])
  expect(rejected).toEqual({})
})

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`

test('any fields come back from a quoted file, whatever the chunks', async () => {
  const field = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 20 }),
      async (rows) => {
        const text = rows.map(([a, b], i) => `${quoted(a)},${quoted(b)},${i}`).join('\n')
        const { events } = await eventsOf([`user,item,time\n${text}`], {
          columns: 'user=user,item=item,time=time:ms',
        })
        expect(events.map((e) => [e.userId, e.itemId])).toEqual(rows)
      },
    ),
    { numRuns: 40 },
  )
})

test('rows in error are counted by reason and written once, and the others are read', async () => {
  const long = 'x'.repeat(300)
  const rows = [
    'u,a,1,click,1',
    ',a,2,click,1',
    'u,,3,click,1',
    `u,${long},4,click,1`,
    'u,b,x,click,1',
  ]
  rows.push('u,c,5,,1', 'u,d,6,click,-1', 'u', 'u,e,7,click,', 'u,f,8,click,2')
  const text = Buffer.concat([
    Buffer.from(`user,item,time,type,w\n${rows.join('\n')}\n`),
    Buffer.from([0x75, 0xff, 0x2c, 0x61, 0x2c, 0x39, 0x0a]),
  ])
  await using subject = recording([text], {
    columns: 'user=user,item=item,time=time:s,type=type,weight=w',
  })
  const { events, offsets } = await readAll(subject.reader, {}, 2)
  expect(events.map((e) => ('itemId' in e ? e.itemId : ''))).toEqual(['a', 'f'])
  expect(offsets).toEqual(['0', '9'])
  await readAll(subject.reader, {}, 3)
  const counts = {
    'no user id': 1,
    'no item id': 3,
    'no time': 1,
    'no type': 1,
    'no weight': 2,
    'not UTF-8': 1,
  }
  expect(Object.fromEntries(subject.reader.rejected)).toEqual(counts)
  const rejects = subject.rejects()
  expect(rejects).toHaveLength(9)
  expect(rejects[0]).toMatchObject({ line: 3, reason: 'no user id', text: ',a,2,click,1' })
  expect(await subject.reader.end()).toEqual({ 0: '11' })
})

test('a file may be empty, have only a header, a byte order mark, or a stray quote', async () => {
  const options = { columns: 'user=user,item=item' }
  expect((await eventsOf([''], options)).events).toEqual([])
  expect((await eventsOf(['user,item\n', 'user,item\nu,a', '\n\n'], options)).events).toHaveLength(
    1,
  )
  const marked = await eventsOf(['\ufeffuser,item\nu,a'], options)
  expect(marked.events).toMatchObject([{ userId: 'u', itemId: 'a' }])
  const stray = await eventsOf(['user,item\n"u,a\nv,b\n'], options)
  expect(stray.rejected).toEqual({ 'no item id': 1 })
  expect(stray.events).toMatchObject([{ userId: 'v', itemId: 'b' }])
})

test('chunks end anywhere: megabytes of rows come back in order', async () => {
  const rows = Array.from(
    { length: 60_000 },
    (_, i) => `user-${i % 97},item-${i}-${'x'.repeat(i % 40)},${i}`,
  )
  for (const content of [rows.join('\n'), gzipSync(rows.join('\n'))]) {
    await using subject = recording([content], { columns: 'user=1,item=2,time=3:ms' })
    const { events, next } = await readAll(subject.reader, {}, 4_096)
    expect(events).toHaveLength(60_000)
    expect(events.every((event, i) => event.timestamp === i)).toBe(true)
    const tail = await readAll(subject.reader, { 0: '59990' })
    expect(tail.events).toEqual(events.slice(59_990))
    expect(await subject.reader.end()).toEqual(next)
  }
})

const open = (text: string) => () => new RecordedLog({ files: [], columns: text })

test('a mapping that is unclear says what is', async () => {
  expect(open('item=a')).toThrow('user= and item= are needed')
  expect(open('user=a,item=b,colour=c')).toThrow('colour is none of user, item')
  expect(open('user=a,item=b,c')).toThrow('c belongs to nothing')
  expect(open('user=a,item=')).toThrow('item= names no column')
  expect(open('user=a,item=b,time=c:days')).toThrow('a time is in ms, s, rfc3339, auto')
  await using unknown = recording(['user,item\nu,a\n'], { columns: 'user=user,item=article' })
  await expect(unknown.reader.read({}, atOnce(1))).rejects.toMatchObject({
    code: 'RECORDING_COLUMNS',
    message: expect.stringContaining('no column article among user, item'),
  })
  await using narrow = recording(['justone\n'])
  await expect(narrow.reader.read({}, atOnce(1))).rejects.toMatchObject({
    code: 'RECORDING_COLUMNS',
  })
})

test('a file that is missing or no longer whole is a clear error', async () => {
  const missing = new RecordedLog({ files: ['/nowhere/at/all'] })
  await expect(missing.read({}, atOnce(1))).rejects.toMatchObject({ code: 'LOG_UNREADABLE' })
  expect(existsSync('/nowhere')).toBe(false)
  const cut = gzipSync('u,a,1\n'.repeat(1_000)).subarray(0, -20)
  await using subject = recording([cut])
  await expect(readAll(subject.reader, {}, 5_000)).rejects.toMatchObject({ code: 'LOG_UNREADABLE' })
})
