import { describe, expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import { MemoryTable, type MemoryTableOptions } from '../../../src/embedding/memory/memory-table.ts'
import { adagrad, keysOf, randomKeys, range, step, tableSpec } from '../../support/tables.ts'

const spec = tableSpec({ dim: 8, capacityRows: 12_000 })

/** 10,000 rows, some trained, some erased and not yet in a delta. */
function trained(options: MemoryTableOptions = {}): MemoryTable {
  const table = new MemoryTable(spec, options)
  const keys = randomKeys(1, 10_000)
  table.findOrInsert(keys, new Float32Array(80_000), step(1))
  table.takeChanges()
  const some = keys.subarray(0, 4_000)
  const gradients = new Float32Array(16_000).map((_, i) => (i % 13) - 6)
  table.applyGradients(some, gradients, new Uint32Array(2_000).fill(3), step(2))
  table.erase(keys.subarray(18_000))
  return table
}

const bytesOf = (table: MemoryTable): Uint8Array => Buffer.concat([...table.snapshot()])

function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test('a table comes back with its rows, its state and its changes to come', () => {
  const table = trained()
  const other = new MemoryTable(spec)
  other.load(table.snapshot())
  expect(other.size).toBe(9_000)
  expect(other.digest()).toBe(table.digest())
  expect(other.takeChanges()).toEqual(table.takeChanges())
})

test('10,000 rows of 8 floats go from two memories to three', () => {
  const table = trained({ shards: 2 })
  const other = new MemoryTable(spec, { shards: 3 })
  other.load(table.snapshot())
  expect(other.size).toBe(table.size)
  expect(other.digest()).toBe(table.digest())
  expect(other.digest()).toBe(trained().digest())
  expect(other.takeChanges()).toEqual(table.takeChanges())
})

test('the bytes may be cut anywhere', () => {
  const table = trained()
  const bytes = bytesOf(table)
  for (const size of [977, 65_536, bytes.length]) {
    const other = new MemoryTable(spec)
    other.load(cut(bytes, size))
    expect(other.digest()).toBe(table.digest())
    expect(other.takeChanges().removed).toHaveLength(2000)
  }
})

test('a table loads into another capacity, if it fits', () => {
  const table = trained()
  const bytes = [bytesOf(table)]
  const larger = new MemoryTable({ ...spec, capacityRows: 50_000 })
  larger.load(bytes)
  expect(larger.digest()).toBe(table.digest())
  const smaller = new MemoryTable({ ...spec, capacityRows: 8_000 })
  expect(() => {
    smaller.load(bytes)
  }).toThrow(/SNAPSHOT_INCOMPATIBLE|another capacity/)
  expect(smaller.size).toBe(0)
})

test('loading replaces what was there', () => {
  const table = trained()
  const other = new MemoryTable(spec)
  other.findOrInsert(keysOf(...range(0, 100)), new Float32Array(800), step(1))
  other.erase(keysOf(...range(0, 50)))
  other.load(table.snapshot())
  expect(other.digest()).toBe(table.digest())
  expect(other.takeChanges()).toEqual(table.takeChanges())
})

test('that removed keys were forgotten is not forgotten', () => {
  const small = tableSpec({ dim: 1, capacityRows: 4096 })
  const table = new MemoryTable(small)
  for (const start of [0, 4096]) {
    const ids = keysOf(...range(start, start + 4096))
    table.findOrInsert(ids, new Float32Array(4096), step(1))
    table.erase(ids)
  }
  const other = new MemoryTable(small)
  other.load(table.snapshot())
  expect(other.takeChanges().resync).toBe(true)
})

test.each([
  ['nothing', (bytes: Uint8Array) => bytes.subarray(0, 0)],
  ['half of it', (bytes: Uint8Array) => bytes.subarray(0, bytes.length >> 1)],
  ['all but the last byte', (bytes: Uint8Array) => bytes.subarray(0, -1)],
  ['something else', () => new TextEncoder().encode('not a snapshot at all')],
  ['more than it', (bytes: Uint8Array) => Buffer.concat([bytes, bytes])],
  ['one without its end', (bytes: Uint8Array) => withoutLastFrame(bytes)],
])('%s is a damaged snapshot and leaves an empty table', (_, change) => {
  const bytes = change(bytesOf(trained()))
  const table = new MemoryTable(spec)
  expect(() => {
    table.load([bytes])
  }).toThrow('the snapshot of table test cannot be read')
  expect(table.size).toBe(0)
})

test('a flipped bit anywhere is found, in a full snapshot and in a delta', () => {
  const small = new MemoryTable(tableSpec())
  small.findOrInsert(keysOf(1, 2, 3), new Float32Array(6), step(1))
  small.erase(keysOf(3))
  const full = bytesOf(small)
  small.erase(keysOf(2))
  small.findOrInsert(keysOf(5), new Float32Array(2), step(2))
  const delta = Buffer.concat([...small.snapshot({ since: 1 })])
  for (const bytes of [full, delta]) {
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const damaged = Uint8Array.from(bytes)
      damaged[bit >> 3] ^= 1 << (bit & 7)
      expect(() => {
        small.load(bytes === full ? [damaged] : [full, damaged])
      }).toThrow('the snapshot of table test')
    }
  }
})

test.each([
  ['dim', { dim: 4 }],
  ['name', { name: 'other' }],
  ['seed', { seed: 1 }],
  ['initializer', { initializer: { kind: 'zeros' } }],
  ['optimizer', { optimizer: { ...adagrad, kind: 'adagradDecay', decay: 0.9, decaySteps: 10 } }],
] as const)('a snapshot with another %s is refused', (field, change) => {
  const table = new MemoryTable({ ...spec, ...change })
  const load = (): void => {
    table.load(trained().snapshot())
  }
  expect(load).toThrow(`made with another ${field}`)
})

/** Everything that changes rows, new ones in the places of old ones among it. */
function churn(table: MemoryTable, n: number): void {
  const random = seededRandom(n)
  const keys = randomKeys(1, 10_000)
  const some = (): Uint32Array => {
    const from = random.integer(9_900)
    return keys.slice(2 * from, 2 * (from + 100))
  }
  const floats = new Float32Array(800).fill(n)
  table.erase(some())
  table.findOrInsert(randomKeys(n, 100), new Float32Array(800), step(n))
  table.findOrInsert(some(), new Float32Array(800), step(n))
  table.applyGradients(some(), floats, new Uint32Array(100).fill(2), step(n))
  table.assign(some(), floats, step(n))
  const exists = new Uint8Array(100).fill(1)
  const oldVectors = new Float32Array(800)
  table.accumulate(some(), { oldVectors, newVectors: floats, exists }, step(n))
  const { size } = table
  table.restrict({ numReserved: size - 20, trigger: 0, policy: 'timestamp' })
  if (n % 5 === 0) table.takeChanges()
}

/** Rows go away and come back as they were. */
function rewrite(table: MemoryTable, n: number): void {
  const keys = randomKeys(1, 10_000).slice(100 * n, 100 * n + 200)
  const records = new Uint8Array(100 * table.recordBytes)
  table.readRecords(keys, records, new Uint8Array(100))
  if (n % 2 === 0) table.drop(keys)
  table.writeRecords(records, { changed: n % 3 === 0 })
}

describe('while the table changes', () => {
  test.each([1, 3])('a snapshot is of the moment it was asked for, %i memories', (shards) => {
    const [table, still] = [trained({ shards }), trained()]
    const snapshot = table.snapshot()
    const pieces: Uint8Array[] = []
    for (let n = 3; ; n += 1) {
      churn(table, n)
      rewrite(table, n)
      const { value } = snapshot.next()
      if (value === undefined) break
      pieces.push(value)
    }
    expect(pieces.length).toBeGreaterThan(10)
    expect(table.digest()).not.toBe(still.digest())
    const other = new MemoryTable(spec)
    other.load(pieces)
    expect(other.digest()).toBe(still.digest())
    expect(other.takeChanges()).toEqual(still.takeChanges())
  })

  test.each([1, 3])('full and deltas give the table as it is, %i memories', (shards) => {
    const table = trained({ shards })
    const full = [...table.snapshot()]
    const deltas: Uint8Array[][] = []
    for (let n = 3, since = 2; n < 12; n += 1) {
      churn(table, 100 * n)
      if (n % 3 !== 0) continue
      const delta = table.snapshot({ since })
      expect(delta.full).toBe(false)
      const pieces: Uint8Array[] = []
      for (const piece of delta) {
        pieces.push(piece)
        churn(table, 100 * n + pieces.length)
      }
      deltas.push(pieces)
      since = 100 * n
    }
    deltas.push([...table.snapshot({ since: 900 })])
    expect(bytesIn(deltas[0])).toBeLessThan(bytesIn(full))
    const other = new MemoryTable(spec)
    other.load([...full, ...deltas.flat()])
    expect(other.digest()).toBe(table.digest())
    expect(other.takeChanges()).toEqual(table.takeChanges())
  })

  test('a delta is refused without what it follows', () => {
    const table = trained()
    const full = [...table.snapshot()]
    churn(table, 3)
    const delta = [...table.snapshot({ since: 2 })]
    churn(table, 4)
    const next = [...table.snapshot({ since: 4 })]
    const other = new MemoryTable(spec)
    const load = (first: Uint8Array[], ...deltas: Uint8Array[][]) => {
      return () => {
        other.load([...first, ...deltas.flat()])
      }
    }
    expect(load(delta)).toThrow('made with another start: version 2, not a full snapshot')
    expect(load(full, next)).toThrow('another start: version 4, not at most version 2')
    expect(load(full, delta.slice(0, -2))).toThrow('cannot be read')
    expect(load(full, [...delta.slice(0, 2), ...delta.slice(3)])).toThrow('cannot be read')
    expect(other.size).toBe(0)
    other.load([...full, ...delta])
    expect(other.size).toBeGreaterThan(0)
  })

  test('where it is not known what has left, the snapshot is a full one', () => {
    const table = trained()
    expect(table.snapshot({ since: 2 }).full).toBe(true)
    expect(table.snapshot({ since: 2 }).full).toBe(false)
    expect(table.snapshot({ since: 1 }).full).toBe(true)
    rewrite(table, 90)
    expect(table.snapshot({ since: 2 }).full).toBe(true)
    for (let n = 3; n < 20; n += 1) {
      const keys = randomKeys(n, 900)
      table.findOrInsert(keys, new Float32Array(7200), step(n))
      table.erase(keys)
    }
    expect(table.snapshot({ since: 3 }).full).toBe(true)
  })

  test('a new snapshot, a load and a clear end the one under way', () => {
    const table = trained()
    const first = table.snapshot()
    const second = table.snapshot()
    expect(() => first.next()).toThrow('take another')
    expect(second.next().done).toBe(false)
    table.clear()
    expect(() => second.next()).toThrow('take another')
  })

  test('a snapshot that is not read on is given up where more rows wait than may', () => {
    const table = trained()
    const keys = randomKeys(1, 10_000)
    const digest = table.digest()
    const bounded = table.snapshot({ waitingRows: 4_000 })
    table.assign(keys.subarray(0, 6_000), new Float32Array(24_000), step(3))
    expect(bounded.next().done).toBe(false)
    table.assign(keys.subarray(6_000, 16_000), new Float32Array(40_000), step(3))
    expect(() => bounded.next()).toThrow('changed faster')
    expect(bounded.open).toBe(false)
    const all = trained()
    const unbounded = all.snapshot()
    all.assign(keys, new Float32Array(80_000), step(3))
    const other = new MemoryTable(spec)
    other.load(unbounded)
    expect(other.digest()).toBe(digest)
  })

  test('a snapshot that nobody reads to its end can be let go', () => {
    const table = trained()
    const snapshot = table.snapshot()
    snapshot.next()
    snapshot.return()
    expect(snapshot.next().done).toBe(true)
    churn(table, 3)
    const other = new MemoryTable(spec)
    other.load(table.snapshot())
    expect(other.digest()).toBe(table.digest())
  })
})

const bytesIn = (pieces: readonly Uint8Array[]): number =>
  pieces.reduce((sum, { length }) => sum + length, 0)

test('the digest sees a vector, a state, a count, a time and a version', () => {
  const make = (occurrences: number, time: number, version: number): bigint => {
    const table = new MemoryTable(spec)
    const keys = keysOf(1)
    table.findOrInsert(keys, new Float32Array(8), step(1))
    table.applyGradients(keys, new Float32Array(8), Uint32Array.of(occurrences), { time, version })
    return table.digest()
  }
  expect(new Set([make(1, 1, 1), make(2, 1, 1), make(1, 2, 1), make(1, 1, 2)]).size).toBe(4)
  expect(make(1, 1, 1)).toBe(make(1, 1, 1))
  expect(new MemoryTable(spec).digest()).toBe(0n)
})

function withoutLastFrame(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  for (;;) {
    const next = at + 8 + view.getUint32(at, true)
    if (next >= bytes.length) return bytes.subarray(0, at)
    at = next
  }
}
