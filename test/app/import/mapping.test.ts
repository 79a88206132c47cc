import { expect, test } from 'vitest'

import { cellReader, readAsIs } from '../../../src/app/import/cells.ts'
import { guessMapping, parseMapping, resolveMapping } from '../../../src/app/import/mapping.ts'

test('a mapping names fields, groups, and how cells are read', () => {
  const text = 'user=customer.id,item=2,time=when:ms,context=device,os.name,context.town=city'
  expect(parseMapping(text, 'events')).toEqual([
    { field: 'userId', column: 'customer.id' },
    { field: 'itemId', column: '2' },
    { field: 'timestamp', column: 'when', type: 'ms' },
    { field: 'context', name: 'device', column: 'device' },
    { field: 'context', name: 'name', column: 'os.name' },
    { field: 'context', name: 'town', column: 'city' },
  ])
})

test('columns are found by name or number, and * is all the others', () => {
  const uses = parseMapping('id=1,features.title=name,attributes=*', 'items')
  expect(resolveMapping(uses, ['sku', 'name', 'price', 'brand'])).toEqual([
    { field: 'itemId', column: 'sku' },
    { field: 'features', name: 'title', column: 'name' },
    { field: 'attributes', name: 'price', column: 'price' },
    { field: 'attributes', name: 'brand', column: 'brand' },
  ])
})

test.each([
  ['user=a', 'item=COLUMN is needed'],
  ['user=a,item=b,tme=c', 'did you mean "time"?'],
  ['user=a,item=b,time=c:mss', 'did you mean "ms"?'],
  ['user=a,item=b,c', '"c" names no field'],
  ['user=,item=b', 'a column is missing'],
  ['user=a,item=b,context.=c', '"context." is no field'],
])('%s is told what is wrong with it', (text, reason) => {
  const uses = () => resolveMapping(parseMapping(text, 'events'), ['a', 'b', 'c'])
  expect(uses).toThrow(expect.objectContaining({ message: expect.stringContaining(reason) }))
})

test.each([
  [
    ['customer.userId', 'articleId', 'clickedAt'],
    ['userId', 'itemId', 'timestamp'],
  ],
  [
    ['visitorid', 'itemid', 'event', 'timestamp'],
    ['userId', 'itemId', 'timestamp', 'type'],
  ],
  [
    ['click_timestamp', 'user_id', 'click_article_id', 'session_id'],
    ['userId', 'itemId', 'timestamp'],
  ],
])('%j are recognised', (columns, fields) => {
  expect(guessMapping(columns, 'events', true).map(({ field }) => field)).toEqual(fields)
})

test('names that say nothing are asked about', () => {
  expect(() => guessMapping(['a', 'b'], 'events', true)).toThrow('say with --map user=COLUMN')
})

test.each([
  ['auto', '978300760', undefined, 978_300_760_000],
  ['auto', '1506826800026', undefined, 1_506_826_800_026],
  ['auto', 1_506_826_800_026_000n, undefined, 1_506_826_800_026],
  ['ns', '1506826800026000000', undefined, 1_506_826_800_026],
  ['auto', '2026-03-01', undefined, Date.UTC(2026, 2, 1)],
  ['auto', '2026-03-01 10:30', undefined, Date.UTC(2026, 2, 1, 10, 30)],
  ['rfc3339', '2026-03-01T10:30:00.5+02:00', undefined, Date.UTC(2026, 2, 1, 8, 30, 0, 500)],
  ['auto', '1.3.2026 9:05', 'DD.MM.YYYY HH:mm', Date.UTC(2026, 2, 1, 9, 5)],
  ['auto', new Date(5), undefined, 5],
  ['auto', ' ', undefined, undefined],
] as const)('a time %s of %s', (type, cell, format, time) => {
  expect(cellReader(type, format)(cell)).toBe(time)
})

test.each([
  ['auto', 'soon', undefined],
  ['s', '2026-03-01', undefined],
  ['rfc3339', '2026-13-01', undefined],
  ['auto', '31.2.2026', 'DD.MM.YYYY'],
  ['auto', -1, undefined],
] as const)('%s of %s is no time', (type, cell, format) => {
  expect(() => cellReader(type, format)(cell)).toThrow('expected a time')
})

test('lists, numbers and words that mean yes or no', () => {
  expect(cellReader('list', undefined)('Action| Drama|')).toEqual(['Action', 'Drama'])
  expect(cellReader('number', undefined)('1,5')).toBe(1.5)
  expect(cellReader('boolean', undefined)('No')).toBe(false)
  expect(cellReader('text', undefined)(12n)).toBe('12')
  expect(() => cellReader('number', undefined)('12 €')).toThrow('expected a number, not "12 €"')
  expect(readAsIs([1n, null, 'a'])).toEqual([1, 'a'])
})
