import { expect, test, vi } from 'vitest'

import { ServiceError } from '../../src/base/errors.ts'
import { Arena } from '../../src/kernels/arena.ts'
import { activationCode } from '../../src/kernels/dense-kernels.ts'
import type { KernelImplementation, SplitOperands } from '../../src/kernels/kernels.ts'
import { absent } from '../../src/kernels/operands.ts'
import { PoolControl } from '../../src/kernels/pool-control.ts'
import { ThreadPool, type ThreadPoolOptions } from '../../src/kernels/thread-pool.ts'
import { normals } from '../support/kernel-desk.ts'

// Threads on a machine that has other work.
vi.setConfig({ testTimeout: 30_000 })

/** A pool on an arena of its own, closed at the end of the scope. */
async function openPool(
  options: ThreadPoolOptions,
): Promise<{ arena: Arena; pool: ThreadPool } & AsyncDisposable> {
  const arena = new Arena(4 << 20)
  const pool = await ThreadPool.create(arena, options)
  return { arena, pool, [Symbol.asyncDispose]: () => pool.close() }
}

/** A layer, a loss over 101 columns and their gradients, again and again; the weights at the end. */
async function train(threads: number, implementation: KernelImplementation): Promise<Float32Array> {
  await using opened = await openPool({ threads, implementation })
  const { arena, pool } = opened
  const [rows, width, columns] = [37, 20, 101]
  const fill = (length: number, seed: number): number => {
    const block = arena.floats(length)
    block.view.set(normals(seed, length))
    return block.address
  }
  const zeros = (length: number): number => arena.floats(length).address
  const [x, c] = [fill(rows * width, 1), fill(columns * width, 2)]
  const weights = arena.floats(width * width)
  weights.view.set(normals(3, width * width))
  const [w, a, dw] = [weights.address, fill(width * width, 4), zeros(width * width)]
  const [y, dy, scores, inverses] = [
    zeros(rows * width),
    zeros(rows * width),
    zeros(rows * columns),
    zeros(rows),
  ]

  pool.run('scale', [a, a, 0], width * width)
  for (let step = 0; step < 20; step += 1) {
    pool.run('matmul', [y, x, w, rows, width, width, 0], rows)
    pool.run('biasActivation', [y, y, absent, width, activationCode.relu], rows)
    pool.run('matmulTransposedB', [scores, y, c, rows, columns, width, 0], rows)
    pool.run('normalizeRows', [scores, inverses, scores, columns, 1e-6], rows)
    pool.run('matmul', [dy, scores, c, rows, width, columns, 0], rows)
    pool.run('activationBackward', [dy, y, activationCode.relu], rows * width)
    pool.run('matmulTransposedA', [dw, x, dy, width, width, rows, 0], width)
    pool.run('adagrad', [w, a, dw, 0.1, 0.1], width * width)
  }
  return weights.view.slice()
}

test('any number of threads gives the same bits, and so do the twins', async () => {
  const one = await train(1, 'wasm')
  expect(one.every((value) => Number.isFinite(value))).toBe(true)
  expect(await train(2, 'wasm')).toEqual(one)
  expect(await train(5, 'wasm')).toEqual(one)
  expect(await train(2, 'reference')).toEqual(one)
})

test('every element is computed once, whatever the count, the threads and the grain', async () => {
  for (const threads of [1, 3]) {
    await using opened = await openPool({ threads })
    const { arena, pool } = opened
    const [out, ones] = [arena.floats(64), arena.floats(64)]
    ones.view.fill(1)
    for (const count of [0, 1, 3, 4, 5, 8, 9, 31, 64]) {
      for (const grain of [1, 4, 16, 100]) {
        out.view.fill(0)
        pool.run('addScaled', [out.address, ones.address, 1], count, grain)
        expect(out.view).toEqual(Float32Array.from(out.view, (_, i) => (i < count ? 1 : 0)))
      }
    }
  }
})

test('a call that is left to the workers is whole once it is finished, and the only one to be begun till then', async () => {
  for (const threads of [2, 3]) {
    await using opened = await openPool({ threads })
    const { arena, pool } = opened
    const [out, ones] = [arena.floats(64), arena.floats(64)]
    ones.view.fill(1)
    const add = (): (() => void) => pool.begin('addScaled', [out.address, ones.address, 1], 64, 4)
    const other = arena.floats(64)
    for (let times = 1; times <= 50; times += 1) {
      const finish = add()
      expect(add).toThrow('one call at a time')
      // What is run meanwhile is done at once, by this thread alone.
      pool.run('addScaled', [other.address, ones.address, 1], 64)
      expect(other.view).toEqual(Float32Array.from(other.view, () => times))
      finish()
      expect(out.view).toEqual(Float32Array.from(out.view, () => times))
    }
  }
})

/**
 * Eight bags as two shares: the first, which the pool's own thread takes unless a worker is quicker,
 * keeps it busy for some hundredth of a second; what becomes of the second is up to `offsets`.
 */
function busyBags(arena: Arena, offsets: Int32Array): SplitOperands<'poolBags'> {
  const [entries, dim] = [4 * 2 ** 10, 2 ** 14]
  const indices = arena.ints(2 * entries * 64).address
  const [out, row] = [arena.floats(8 * dim).address, arena.floats(dim).address]
  for (let bag = 0; bag < Math.min(5, offsets.length); bag += 1) offsets[bag] = bag * 2 ** 10
  return [out, dim, row, dim, offsets.byteOffset, indices, 0, 0]
}

/** Calls again until a worker has had the second share. */
function untilLost(run: () => void): unknown {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    try {
      run()
    } catch (error) {
      if (error instanceof ServiceError) return error
    }
  }
  return undefined
}

test('a share that fails in a worker is an error that names it, and the pool is done for', async () => {
  await using opened = await openPool({ threads: 2 })
  const { arena, pool } = opened
  // The offsets of the second share lie outside the memory.
  const offsets = new Int32Array(arena.memory.buffer, arena.capacityBytes - 5 * 4, 5)
  const bags = busyBags(arena, offsets)
  const run = (): void => pool.run('poolBags', bags, 8)
  const lost = expect.objectContaining({
    code: 'KERNEL_WORKER_LOST',
    details: expect.objectContaining({ kernel: 'poolBags', thread: 1 }),
  })
  expect(untilLost(run)).toEqual(lost)
  expect(run).toThrow(lost)
  expect(run).toThrow('memory access out of bounds')
})

test('a share that fails here is thrown when the others have finished', async () => {
  await using opened = await openPool({ threads: 2 })
  const { arena, pool } = opened
  const beyond = arena.capacityBytes
  expect(() => pool.run('scale', [64, beyond, 1], 32)).toThrow('memory access out of bounds')
})

test('a worker that does not answer in time is lost', async () => {
  await using opened = await openPool({ threads: 2, patienceSeconds: 0 })
  const { arena, pool } = opened
  const offsets = arena.ints(9)
  const bags = busyBags(arena, offsets.view)
  // The second share takes 64 times as long as the first.
  offsets.view.fill(4 * 2 ** 10 * 65, 5)
  const lost = expect.objectContaining({ code: 'KERNEL_WORKER_LOST' })
  expect(untilLost(() => pool.run('poolBags', bags, 8))).toEqual(lost)
})

test('a worker that sleeps is not waited for', async () => {
  await using opened = await openPool({ threads: 2 })
  const { arena, pool } = opened
  const control = new PoolControl()
  control.publish({ kernel: 0, operands: [], count: 8, share: 4 })
  expect(control.finished(0)).toBe(true)
  const [out, ones] = [arena.floats(64), arena.floats(64)]
  ones.view.fill(1)
  pool.run('addScaled', [out.address, ones.address, 1], 64)
  expect(out.view).toEqual(ones.view)
})

test('a closed pool refuses calls, and closing again does nothing', async () => {
  await using opened = await openPool({ threads: 2 })
  await opened.pool.close()
  expect(() => opened.pool.run('scale', [64, 64, 1], 32)).toThrow('the pool is closed')
})

test('the number of threads is limited', async () => {
  await expect(ThreadPool.create(new Arena(1 << 17), { threads: 0 })).rejects.toThrow('a pool has')
})

test('what a pool writes a worker reads, and the first failure is kept', () => {
  const pool = new PoolControl()
  const worker = new PoolControl(pool.buffer)
  const call = { kernel: 7, operands: [1, 0.1, 2 ** 32], count: 9, share: 4 }
  pool.publish(call)
  expect(worker.next(0)).toBe(1)
  expect(worker.enter()).toEqual(call)
  // The pool from the first on, a worker from the last.
  const claimed = [worker.claim(3), pool.claim(3), worker.claim(3), pool.claim(3), worker.claim(3)]
  expect(claimed).toEqual([2, 0, 1, -1, -1])
  expect(pool.finished(0)).toBe(false)
  worker.fail(3, 'trap')
  worker.fail(4, 'another')
  worker.leave()
  expect(pool.finished(0)).toBe(true)
  expect(pool.failure()).toEqual({ thread: 3, reason: 'trap' })
})

test('a worker that comes too late finds the call closed, and is in the next', () => {
  const pool = new PoolControl()
  const worker = new PoolControl(pool.buffer)
  const call = { kernel: 1, operands: [], count: 8, share: 4 }
  pool.publish(call)
  expect(pool.finished(0)).toBe(true)
  expect(worker.enter()).toBe(undefined)
  pool.publish({ ...call, kernel: 2 })
  expect(worker.enter()?.kernel).toBe(2)
})
