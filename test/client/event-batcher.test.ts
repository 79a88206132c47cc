import { expect, test, vi } from 'vitest'

import { EventBatcher } from '../../src/client/event-batcher.ts'
import type { Accepted, Event } from '../../src/client/types.ts'

const click = (i: number): Event => ({ userId: 'u', itemId: `i${i}`, type: 'click' })

const taken = (events: readonly Event[]): Accepted => ({ accepted: events.length, rejected: [] })

const accept = (events: readonly Event[]): Promise<Accepted> => Promise.resolve(taken(events))

interface Sent {
  readonly events: readonly Event[]
  readonly keepalive: boolean
}

function batcher(options: { maxEvents?: number; maxDelayMs?: number; maxPending?: number } = {}) {
  const sent: Sent[] = []
  const errors: (readonly [unknown, readonly Event[]])[] = []
  let answer = accept
  const made = new EventBatcher(
    (events, keepalive) => {
      sent.push({ events, keepalive })
      return answer(events)
    },
    { ...options, onError: (error, events) => errors.push([error, events]) },
  )
  const answerWith = (next: typeof answer): void => void (answer = next)
  return { made, sent, errors, answerWith }
}

test('events go out together, full or after a while, in order', async () => {
  vi.useFakeTimers()
  try {
    const { made, sent } = batcher({ maxEvents: 3, maxDelayMs: 200 })
    for (let i = 0; i < 7; i += 1) expect(made.add(click(i))).toBe(true)
    await vi.advanceTimersByTimeAsync(0)
    expect(sent.map(({ events }) => events.length)).toEqual([3, 3, 1])
    made.add(click(7))
    await vi.advanceTimersByTimeAsync(199)
    expect(sent).toHaveLength(3)
    await vi.advanceTimersByTimeAsync(1)
    expect(sent.flatMap(({ events }) => events)).toEqual(
      Array.from({ length: 8 }, (_, i) => click(i)),
    )
    expect(made.pending).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

test('one request is under way at a time', async () => {
  const { made, sent, answerWith } = batcher({ maxEvents: 1 })
  const releases: (() => void)[] = []
  answerWith((events) => new Promise((resolve) => releases.push(() => resolve(taken(events)))))
  made.add(click(1))
  made.add(click(2))
  await Promise.resolve()
  expect(sent).toHaveLength(1)
  made.add(click(3))
  releases[0]()
  await vi.waitFor(() => expect(sent).toHaveLength(2))
  releases[1]()
  await vi.waitFor(() => expect(sent).toHaveLength(3))
  releases[2]()
  await made.flush()
})

test('what is refused, and what cannot be sent, is told with its reason', async () => {
  const { made, errors, answerWith } = batcher()
  const reason = { index: 1, code: 'EVENT_INVALID', path: 'userId', message: 'm' }
  answerWith(() => Promise.resolve({ accepted: 1, rejected: [reason] }))
  made.add(click(1))
  made.add(click(2))
  await made.flush()
  expect(errors).toEqual([[reason, [click(2)]]])
  const failure = new Error('no network')
  answerWith(() => Promise.reject(failure))
  made.add(click(3))
  await made.flush()
  expect(errors.at(-1)).toEqual([failure, [click(3)]])
})

test('more than may wait is refused, and so is anything after the end', async () => {
  const { made, sent } = batcher({ maxEvents: 10, maxPending: 2 })
  expect([made.add(click(1)), made.add(click(2)), made.add(click(3))]).toEqual([true, true, false])
  await made[Symbol.asyncDispose]()
  expect(sent.flatMap(({ events }) => events)).toHaveLength(2)
  expect(made.add(click(4))).toBe(false)
})

test('a page that closes says so', async () => {
  const { made, sent } = batcher()
  made.add(click(1))
  await made.flush(true)
  expect(sent[0].keepalive).toBe(true)
})
