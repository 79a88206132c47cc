import { Worker } from 'node:worker_threads'

import { expect, test } from 'vitest'

import { EndSignal } from '../../../src/stream/files/end-signal.ts'

const never = new AbortController().signal

test('a wait ends at once when the end is already past', async () => {
  const signal = new EndSignal()
  signal.publish({ start: 2, end: 5 })
  expect([signal.start, signal.end]).toEqual([2, 5])
  expect(await signal.wait(4, 60_000, [never])).toBe(true)
  expect(await signal.wait(5, 0, [never])).toBe(false)
})

test('a wait outlasts publications that do not reach it', async () => {
  const signal = new EndSignal()
  const waiting = signal.wait(9, 60_000, [never])
  for (let end = 1; end <= 10; end += 1) {
    signal.publish({ start: 0, end })
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await waiting).toBe(true)
})

test('a wait ends with its time, without an end with the first of its signals', async () => {
  const signal = new EndSignal()
  expect(await signal.wait(0, 3, [never])).toBe(false)
  const controller = new AbortController()
  const waiting = signal.wait(0, Infinity, [never, controller.signal])
  controller.abort()
  expect(await waiting).toBe(false)
  expect(await signal.wait(0, 60_000, [AbortSignal.abort()])).toBe(false)
})

test('a publication wakes another thread', async () => {
  const signal = new EndSignal()
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    const version = new Int32Array(workerData, 0, 1)
    parentPort.postMessage('waiting')
    Atomics.wait(version, 0, 0)
    parentPort.postMessage(Number(new BigInt64Array(workerData, 8, 1)[0]))`
  const worker = new Worker(code, { eval: true, workerData: signal.memory })
  const messages: unknown[] = []
  worker.on('message', (message) => {
    messages.push(message)
    if (message === 'waiting') signal.publish({ start: 0, end: 77 })
  })
  await expect.poll(() => messages).toEqual(['waiting', 77])
  await worker.terminate()
})
