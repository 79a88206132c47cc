/** A thread that reads a file log on behalf of a test: each message is one call of the reader. */
import { parentPort, workerData } from 'node:worker_threads'

import { ServiceError } from '../../src/base/errors.ts'
import type { Position, ReadOptions } from '../../src/stream/event-log.ts'
import { openFileLogReader } from '../../src/stream/files/segment-reader.ts'

export type ReaderCall = { readonly id: number } & (
  | { readonly verb: 'start' | 'end' | 'close' | 'abort' }
  | {
      readonly verb: 'read'
      readonly from: Position
      readonly options: Omit<ReadOptions, 'signal'>
    }
)

const reader = await openFileLogReader(workerData)
const aborts = new Map<number, AbortController>()

async function call(message: ReaderCall): Promise<unknown> {
  if (message.verb === 'abort') return undefined
  if (message.verb !== 'read') return reader[message.verb]()
  const controller = new AbortController()
  aborts.set(message.id, controller)
  const options = { ...message.options, signal: controller.signal }
  const batches = await reader.read(message.from, options)
  return batches.map(({ partition, events, offsets, next }) => ({
    partition,
    events,
    offsets,
    next,
  }))
}

const answer = (result: object): void => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(result)
}

parentPort?.on('message', (message: ReaderCall) => {
  const { id } = message
  if (message.verb === 'abort') {
    aborts.get(id)?.abort()
    return
  }
  call(message).then(
    (result) => answer({ id, result }),
    (error: unknown) => {
      const { code, details } = error instanceof ServiceError ? error : { code: String(error) }
      answer({ id, error: { code, details } })
    },
  )
})
