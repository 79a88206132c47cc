import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { expect, test } from 'vitest'

import { InlineBackground } from '../../src/ann/background.ts'
import { IndexMemory, type IndexSite } from '../../src/ann/index-memory.ts'
import { PartitionedIndex } from '../../src/ann/partitioned-index.ts'
import { imageOf } from '../../src/ann/tree-image.ts'
import { IndexLedger } from '../../src/serving/index-ledger.ts'
import { restoreIndex } from '../../src/serving/index-save.ts'
import { IndexThread } from '../../src/serving/index-thread.ts'
import { range, vectors } from '../contract/ann-index.ts'
import { changeAndSave, markedVectors, savedShape } from '../support/saving-index.ts'

const items = 4_000
const shape = { dim: 9, exactDims: 1, capacityItems: items, maxK: 100, flatBelow: 100 } as const
const nameOf = (handle: number): string => `item${handle}`

class Bench implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'freshet-index-'))
  readonly path = join(this.directory, 'live.index')
  readonly thread = new IndexThread()
  readonly index = new PartitionedIndex({ ...shape, background: this.thread })
  readonly ledger = new IndexLedger(items)

  constructor() {
    this.index.upsert(range(items), vectors(1, items, shape.dim))
    for (const id of range(items)) {
      this.ledger.own(id, nameOf(id))
      this.ledger.setVersion(id, 1_000 + id)
    }
  }

  async grow(): Promise<void> {
    while (this.index.stats().tree === undefined) {
      this.index.maintain(64)
      await pause(1)
    }
  }

  save(): Promise<void> {
    return this.thread.save(this.index, this.path, this.ledger.shared)
  }

  restore(itemAt: (handle: number) => string | undefined = nameOf) {
    const index = new PartitionedIndex(shape)
    const ledger = new IndexLedger(items)
    return { taken: restoreIndex(this.path, { index, ledger, itemAt }), index, ledger }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.thread.close()
    rmSync(this.directory, { recursive: true })
  }
}

test('a saved index answers as before, from its tree, at its effort', async () => {
  await using bench = new Bench()
  await bench.grow()
  await bench.save()
  const { taken, index, ledger } = bench.restore()
  expect(taken).toBe(items)
  expect(ledger.shared.versions[77]).toBe(1_077)
  expect(index.stats().tree).toMatchObject({
    leaves: bench.index.stats().tree?.leaves,
    effort: bench.index.stats().tree?.effort,
  })
  const queries = vectors(2, 20, shape.dim)
  // Members stand in another order: where codes tie at the border, others are ranked by rows.
  for (const options of [{}, { effort: 0.2 }, { effort: 1 }]) {
    const [found, before] = [index, bench.index].map((all) => all.search(queries, 10, options).ids)
    expect(found.filter((id, i) => id === before[i]).length).toBeGreaterThan(190)
  }
  const exact = { exact: true }
  expect(index.search(queries, 10, exact)).toEqual(bench.index.search(queries, 10, exact))
  expect(index.serialize()).toEqual(bench.index.serialize())
})

test('an index without a tree is saved too', async () => {
  await using bench = new Bench()
  await bench.save()
  const { taken, index } = bench.restore()
  expect(taken).toBe(items)
  expect(index.stats().tree).toBeUndefined()
  expect(index.serialize()).toEqual(bench.index.serialize())
})

test('what changes while it is saved is not in the file, whatever was read of it', async () => {
  await using bench = new Bench()
  await bench.grow()
  const saved = bench.save()
  const changed = range(300).map((i) => i * 7)
  bench.index.upsert(changed, vectors(3, changed.length, shape.dim))
  bench.index.remove(Int32Array.of(1, 2))
  bench.index.updateTail(Int32Array.of(3), Float32Array.of(9))
  await saved
  bench.index.upsert(Int32Array.of(5), vectors(4, 1, shape.dim))
  const { index } = bench.restore()
  for (const id of [...changed, 1, 2, 3]) expect(index.has(id)).toBe(false)
  expect(index.stats().items).toBe(items - changed.length - 3)
  expect(index.vector(5)).toEqual(vectors(1, items, shape.dim).subarray(45, 54))
})

test('an index that shrinks while it is saved moves when that is over', async () => {
  await using bench = new Bench()
  await bench.grow()
  const saved = bench.save()
  bench.index.remove(range(items).filter((id) => id % 100 !== 0))
  const settle = async (): Promise<void> => {
    while (bench.index.maintain(64) > 0 || bench.thread.isBusy) await pause(1)
  }
  await settle()
  await saved
  await settle()
  expect(bench.restore().index.stats().items).toBe(40)
  bench.index.upsert(range(50), vectors(5, 50, shape.dim))
  await bench.save()
  expect(bench.restore().index.serialize()).toEqual(bench.index.serialize())
})

test('a vector whose handle is another item’s now, or nobody’s, is not taken', async () => {
  await using bench = new Bench()
  await bench.grow()
  await bench.save()
  const names = new Map([
    [4, 'other'],
    [9, undefined],
  ])
  const { taken, index } = bench.restore((handle) =>
    names.has(handle) ? names.get(handle) : nameOf(handle),
  )
  expect(taken).toBe(items - 2)
  expect([4, 9, 10].map((id) => index.has(id))).toEqual([false, false, true])
  const all = index.search(vectors(2, 50, shape.dim), 100, { effort: 1 }).ids
  expect(all).not.toContain(4)
})

/** Lets a test look at trees. */
class SeenBackground extends InlineBackground {
  memory: IndexMemory | undefined

  override open(site: IndexSite): void {
    super.open(site)
    this.memory = IndexMemory.attach(site)
  }
}

test('items whose leaf moves or goes while it is saved are found all the same', () => {
  const background = new SeenBackground()
  const index = new PartitionedIndex({ ...savedShape, background })
  const all = range(savedShape.capacityItems)
  const rows = markedVectors(all, 0)
  index.upsert(all, rows)
  while (index.stats().tree === undefined) index.maintain(64)
  const { answering } = index.beginSave()
  const tree = background.memory!.trees[answering!.tree]
  const image = imageOf(tree)
  const leaves = Int32Array.from(all, (id) => tree.leafOf(id))
  // Those of the greatest score are named for leaves far away, those of the least for no leaf.
  leaves.copyWithin(all.length - 150, 1_000, 1_150)
  image.bases.fill(-Infinity, leaves[0], leaves[0] + 1)
  const restored = new PartitionedIndex(savedShape)
  restored.restoreTree(image, { effort: 0.5, items: all.length })
  for (let at = 0; at < all.length; at += 1_000) {
    const part = [at, at + 1_000] as const
    const some = rows.subarray(at * savedShape.dim, part[1] * savedShape.dim)
    restored.restore(all.subarray(...part), some, leaves.subarray(...part))
  }
  for (const sign of [1, -1]) {
    const query = new Float32Array(savedShape.dim).fill(sign)
    const exact = restored.search(query, 100, { exact: true })
    expect(restored.search(query, 100, { effort: 1 })).toEqual(exact)
  }
})

test('damage is found wherever it is', async () => {
  await using bench = new Bench()
  await bench.grow()
  await bench.save()
  const bytes = readFileSync(bench.path)
  const damaged = expect.objectContaining({ code: 'INDEX_DAMAGED' })
  for (const at of [0, 4, 9, 20, 30, 90, 5_000, bytes.length >> 1, bytes.length - 30]) {
    const other = Buffer.from(bytes)
    other[at] ^= 1
    writeFileSync(bench.path, other)
    expect(() => bench.restore()).toThrow(damaged)
  }
  for (const length of [0, 10, bytes.length - 1, bytes.length - 24]) {
    writeFileSync(bench.path, bytes)
    truncateSync(bench.path, length)
    expect(() => bench.restore()).toThrow(damaged)
  }
})

test('a file of the version before is refused by its version', async () => {
  await using bench = new Bench()
  await bench.grow()
  await bench.save()
  const bytes = readFileSync(bench.path)
  expect(bytes.readUInt32LE(4)).toBe(2)
  bytes.writeUInt32LE(1, 4)
  writeFileSync(bench.path, bytes)
  const refused = { code: 'INDEX_DAMAGED', details: { reason: 'version 1, 2 expected' } }
  expect(() => bench.restore()).toThrow(expect.objectContaining(refused))
})

test('a save that cannot be made is reported, and the file before it stays', async () => {
  await using bench = new Bench()
  await bench.save()
  const nowhere = join(bench.directory, 'nowhere', 'live.index')
  const failed = expect.objectContaining({ code: 'INDEX_NOT_SAVED' })
  await expect(bench.thread.save(bench.index, nowhere, bench.ledger.shared)).rejects.toThrow(failed)
  await bench.thread.close()
  await expect(bench.save()).rejects.toThrow(failed)
  expect(bench.restore().taken).toBe(items)
})

const saver = fileURLToPath(new URL('../support/saving-index.ts', import.meta.url))

/** Every vector of the file is whole, and the tree has exactly the ids of the flat index. */
function expectSound(path: string): void {
  const index = new PartitionedIndex(savedShape)
  const ledger = new IndexLedger(savedShape.capacityItems)
  const taken = restoreIndex(path, { index, ledger, itemAt: nameOf })
  expect(taken).toBe(index.stats().items)
  for (let id = 0; id < savedShape.capacityItems; id += 1) {
    const vector = index.vector(id)
    if (vector === undefined) continue
    expect(new Set(vector).size).toBe(1)
    expect(Math.floor(vector[0] / 100)).toBe(id + 1)
  }
  const query = new Float32Array(savedShape.dim).fill(1)
  const exact = index.search(query, 100, { exact: true })
  expect(index.search(query, 100, { effort: 1 })).toEqual(exact)
}

test('an index that changes all along is saved in whole vectors', { timeout: 60_000 }, async () => {
  await using bench = new Bench()
  await changeAndSave(bench.path, 2)
  expect(existsSync(bench.path)).toBe(true)
  expectSound(bench.path)
})

test(
  'killed while saving, growing and taking over, it leaves a sound file',
  { timeout: 120_000 },
  async () => {
    await using bench = new Bench()
    for (const delayMs of [5, 40, 90, 160, 400]) {
      const child = spawn(process.execPath, [saver, bench.path, 'for ever'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const exited = once(child, 'exit')
      await once(child.stdout, 'data')
      await pause(delayMs)
      child.kill('SIGKILL')
      await exited
      expect(existsSync(bench.path)).toBe(true)
      expectSound(bench.path)
    }
  },
)
