import fc from 'fast-check'
import { expect, test } from 'vitest'

import { ndjsonOf, npyPairOf } from '../../../src/embedding/exchange/table-export.ts'
import {
  type ByteSource,
  ImportDamage,
  importNdjson,
  importNpyPair,
} from '../../../src/embedding/exchange/table-import.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import { keysOf, randomKeys, range, step, tableSpec } from '../../support/tables.ts'

async function textOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of pieces) text += decoder.decode(piece, { stream: true })
  return text
}

async function bytesOf(
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const piece of pieces) all.push(piece.slice())
  return Buffer.concat(all)
}

/** The bytes in pieces of so many. */
async function* inPieces(bytes: Uint8Array, size = 7): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const sourceOf = (bytes: Uint8Array): ByteSource => {
  let at = 0
  return {
    read: (into) => {
      const some = bytes.subarray(at, at + into.length)
      into.set(some)
      at += some.length
      return Promise.resolve(some.length)
    },
  }
}

const importText = (table: MemoryTable, text: string, at = step(9), size?: number) =>
  importNdjson(table, inPieces(new TextEncoder().encode(text), size), at)

const insert = (table: MemoryTable, id: number): void =>
  table.findOrInsert(keysOf(id), new Float32Array(table.spec.dim), step(1))

/** A table with a row per id, each trained `id` times. */
function trained(ids: readonly number[], changes: Partial<TableSpec> = {}): MemoryTable {
  const table = new MemoryTable(tableSpec(changes))
  const { dim } = table.spec
  for (const [n, id] of ids.entries()) {
    const gradients = new Float32Array(dim).fill(id / 7)
    table.findOrInsert(keysOf(id), new Float32Array(dim), step(n))
    table.applyGradients(keysOf(id), gradients, Uint32Array.of(id), step(n))
  }
  return table
}

const pairOf = async (table: MemoryTable) => {
  const { keys, values } = await npyPairOf(table)
  return { keys: await bytesOf(keys), values: await bytesOf(values) }
}

const importPair = (
  table: MemoryTable,
  { keys, values }: { keys: Uint8Array; values: Uint8Array },
) => importNpyPair(table, { keys: sourceOf(keys), values: sourceOf(values) }, step(9))

test('a line says all of a row', async () => {
  const table = trained([2])
  const [line] = (await textOf(ndjsonOf(table))).split('\n')
  expect(JSON.parse(line)).toEqual({
    key: '0000000000000003',
    vector: [expect.any(Number), expect.any(Number)],
    state: [expect.any(Number), expect.any(Number)],
    count: 2,
    lastSeen: 0,
    version: 0,
  })
})

test('every row comes back from NDJSON, bit for bit', async () => {
  const table = trained(range(0, 1_500), { capacityRows: 2_000 })
  const other = new MemoryTable(tableSpec({ capacityRows: 1_600 }))
  const text = await textOf(ndjsonOf(table))
  expect(await importText(other, text, step(1_500))).toBe(1_500)
  expect(other.digest()).toBe(table.digest())
  expect(await textOf(ndjsonOf(other))).toBe(text)
})

test('an export does not depend on where rows lie', async () => {
  const ids = range(0, 60)
  const [ascending, descending] = [new MemoryTable(tableSpec()), new MemoryTable(tableSpec())]
  for (const id of ids) insert(ascending, id)
  for (const id of ids.toReversed()) insert(descending, id)
  expect(await textOf(ndjsonOf(descending))).toBe(await textOf(ndjsonOf(ascending)))
  expect(await pairOf(descending)).toEqual(await pairOf(ascending))
})

test('vectors come back from a .npy pair; the rest of the row starts fresh', async () => {
  const table = trained(range(0, 1_200), { capacityRows: 2_000 })
  const other = new MemoryTable(tableSpec({ capacityRows: 2_000 }))
  expect(await importPair(other, await pairOf(table))).toBe(1_200)
  const keys = keysOf(...range(0, 1_200))
  const [vectors, found] = [new Float32Array(2_400), new Float32Array(2_400)]
  table.find(keys, vectors)
  other.find(keys, found)
  expect(found).toEqual(vectors)
  const [line] = (await textOf(ndjsonOf(other))).split('\n')
  expect(JSON.parse(line)).toMatchObject({ state: [0.1, 0.1], lastSeen: 9_000, version: 9 })
})

test('a line may say no more than key and vector', async () => {
  const table = new MemoryTable(tableSpec())
  await importText(table, '{"key":"a","vector":[1,-0.5]}\n{"vector":[1e-3,2],"key":"FF"}')
  expect((await textOf(ndjsonOf(table))).trimEnd().split('\n')).toEqual([
    '{"key":"000000000000000a","vector":[1,-0.5],"state":[0.1,0.1],"count":0,"lastSeen":9000,"version":9}',
    '{"key":"00000000000000ff","vector":[0.001,2],"state":[0.1,0.1],"count":0,"lastSeen":9000,"version":9}',
  ])
})

test('rows that a file does not name stay, and no row is later than the table', async () => {
  const table = trained([1, 2, 3])
  await importText(table, '{"key":"2","vector":[7,8],"state":[1,2],"count":5,"version":77}')
  expect(table.size).toBe(3)
  const [line] = (await textOf(ndjsonOf(table))).split('\n')
  expect(JSON.parse(line)).toMatchObject({ vector: [7, 8], state: [1, 2], count: 5, version: 9 })
})

const good = '{"key":"1","vector":[1,2]}\n'
test.each([
  ['{"key":"2","vector":[1,2]', 'it is not JSON'],
  ['', 'it is empty'],
  ['[1]', 'it is not a JSON object'],
  ['{"key":"2","vector":[1,2],"sate":[]}', '"sate" is no field of a row'],
  ['{"key":2,"vector":[1,2]}', '"key" is not a string of 1 to 16 hexadecimal digits'],
  ['{"key":"00000000000000001","vector":[1,2]}', '"key" is not a string'],
  ['{"key":"0","vector":[1,2]}', 'key 0 is no key'],
  ['{"key":"2"}', '"vector" is not an array'],
  ['{"key":"2","vector":[1]}', '"vector" has 1 numbers instead of 2'],
  ['{"key":"2","vector":[1,null]}', '"vector" has no finite 32-bit float at 1'],
  ['{"key":"2","vector":[1e39,1]}', '"vector" has no finite 32-bit float at 0'],
  ['{"key":"2","vector":[1,2],"state":[1]}', '"state" has 1 numbers instead of 2'],
  ['{"key":"2","vector":[1,2],"count":-1}', '"count" is not a whole number from 0 to'],
  ['{"key":"2","vector":[1,2],"version":1.5}', '"version" is not a whole number'],
  ['{"key":"2","vector":[1,2],"lastSeen":"x"}', '"lastSeen" is not a whole number'],
  ['{"key":"01","vector":[1,2]}', 'key 0000000000000001 was there before, at line 1'],
])('line 2 %s: %s', async (line, reason) => {
  const importing = importText(new MemoryTable(tableSpec()), `${good}${line}\n`)
  await expect(importing).rejects.toThrow(ImportDamage)
  await expect(importing).rejects.toThrow(`line 2: ${reason}`)
})

test('the line is named where the table is full', async () => {
  const lines = range(1, 900).map((id) => `{"key":"${id.toString(16)}","vector":[1,2]}`)
  const importing = importText(new MemoryTable(tableSpec({ capacityRows: 700 })), lines.join('\n'))
  await expect(importing).rejects.toThrow('line 701: the table is full')
})

test('what is not text is told from a line that is too long', async () => {
  const table = new MemoryTable(tableSpec())
  const broken = Uint8Array.of(...new TextEncoder().encode(good), 0xff, 0xfe)
  await expect(importNdjson(table, inPieces(broken, 27), step(1))).rejects.toThrow(
    'from line 2 on: it is not UTF-8',
  )
  const endless = importText(table, good + ' '.repeat(5_000_000), step(1), 1_000_000)
  await expect(endless).rejects.toThrow('line 2: over 4194304 characters')
})

test('a .npy pair that does not fit says where', async () => {
  const pair = await pairOf(trained(range(0, 600), { capacityRows: 700 }))
  const { keys, values } = pair
  const doubled = Buffer.from(keys)
  doubled.copy(doubled, 128 + 8 * 599, 128, 136)
  const zero = Buffer.from(keys)
  zero.fill(0, 128 + 8 * 555, 128 + 8 * 556)
  const notANumber = Buffer.from(values)
  notANumber.writeFloatLE(NaN, 128 + 8 * 530)
  const cases: readonly (readonly [Uint8Array, Uint8Array, string])[] = [
    [keys.subarray(0, 100), values, 'its header: it ends in its header'],
    [keys.subarray(0, 5), values, 'its header: it is not a .npy file'],
    [values, values, 'its header: keys are one dimension of <u8 or <i8'],
    [keys, keys, 'its header: values are two dimensions of <f4'],
    [keys.subarray(0, -1), values, 'row 600: the file of the keys ends before it'],
    [keys, values.subarray(0, 128 + 8 * 3 + 4), 'row 4: the file of the values ends before it'],
    [
      keys,
      Buffer.concat([values, values]),
      'the end of the values: more bytes than its shape says',
    ],
    [doubled, values, 'row 600: key 0000000000000001 was there before, at row 1'],
    [zero, values, 'row 556: key 0 is no key'],
    [keys, notANumber, 'row 531: a value is not finite'],
  ]
  for (const [some, others, message] of cases) {
    await expect(
      importPair(new MemoryTable(tableSpec({ capacityRows: 700 })), { keys: some, values: others }),
    ).rejects.toThrow(message)
  }
  const wide = new MemoryTable(tableSpec({ dim: 3 }))
  await expect(importPair(wide, pair)).rejects.toThrow('values are (600, 2) instead of (600, 3)')
})

test('any floats, counts and times come back, in pieces of any size', async () => {
  const float = fc.float({ noNaN: true, noDefaultInfinity: true })
  const row = fc.record({
    vector: fc.tuple(float, float),
    count: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    lastSeen: fc.integer({ min: -8.64e15, max: 8.64e15 }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { maxLength: 40 }),
      fc.integer({ min: 1, max: 300 }),
      async (rows, size) => {
        const keys = randomKeys(rows.length, rows.length)
        const table = new MemoryTable(tableSpec())
        const lines = rows.map((each, i) => {
          const key = new BigUint64Array(keys.slice(2 * i, 2 * i + 2).buffer)[0].toString(16)
          return JSON.stringify({ ...each, key })
        })
        await importText(table, lines.join('\n'), step(3))
        const text = await textOf(ndjsonOf(table))
        const other = new MemoryTable(tableSpec())
        await importText(other, text, step(3), size)
        expect(other.digest()).toBe(table.digest())
        const third = new MemoryTable(tableSpec())
        await importPair(third, await pairOf(table))
        expect(third.size).toBe(rows.length)
      },
    ),
    { numRuns: 40 },
  )
})
