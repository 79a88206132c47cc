/**
 * The trainer's thread: opens the log for reading, restores, and runs the loop until it is told to
 * stop. Only wires; `trainer-service.ts` is the other end.
 */
import { setPriority } from 'node:os'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'

import { present } from '../base/assert.ts'
import { systemClock } from '../base/clock.ts'
import type { EventLogReader } from '../stream/event-log.ts'
import { openFileLogReader } from '../stream/segment-reader.ts'
import { LocalPublisher } from '../sync/local-sync.ts'
import { Trainer } from './trainer-loop.ts'
import {
  toPlain,
  type TrainerMessage,
  type TrainerRequest,
  type TrainerTask,
} from './trainer-protocol.ts'

const statusIntervalMs = 500

async function serve(port: MessagePort, task: TrainerTask): Promise<void> {
  const say = (message: TrainerMessage): void => port.postMessage(message)
  // Elsewhere it would be the priority of the whole process. Threads started here inherit it.
  if (process.platform === 'linux') setPriority(0, task.process.niceness ?? 0)
  const reader = await openFileLogReader(task.log)
  const publisher = new LocalPublisher(task.parameterPort)
  try {
    const trainer = await Trainer.create({
      ...task,
      reader,
      publisher,
      clock: systemClock,
      report: (report) => say({ kind: 'report', report }),
    })
    await runTrainer(trainer, port, say)
  } finally {
    await closeAll(reader, publisher)
  }
}

async function runTrainer(
  trainer: Trainer,
  port: MessagePort,
  say: (message: TrainerMessage) => void,
): Promise<void> {
  const stopping = new AbortController()
  port.on('message', (request: TrainerRequest) => {
    if (request.kind === 'stop') {
      stopping.abort()
      return
    }
    const { id, command } = request
    trainer.command(command).then(
      (result) => say({ kind: 'result', id, result }),
      (error: unknown) => say({ kind: 'rejected', id, error: toPlain(error) }),
    )
  })
  const sayStatus = (): void => say({ kind: 'status', status: trainer.status() })
  const timer = setInterval(sayStatus, statusIntervalMs)
  say({ kind: 'ready' })
  sayStatus()
  try {
    await trainer.run({ signal: stopping.signal })
    sayStatus()
  } finally {
    clearInterval(timer)
    await trainer.close()
  }
}

async function closeAll(reader: EventLogReader, publisher: LocalPublisher): Promise<void> {
  await publisher.close()
  await reader.close()
}

const port = present(parentPort, 'the port to the main thread')
const say = (message: TrainerMessage): void => port.postMessage(message)
// The service waits for one of the two, and then for the thread's end.
serve(port, workerData)
  .then(
    () => say({ kind: 'stopped' }),
    (error: unknown) => say({ kind: 'failed', error: toPlain(error) }),
  )
  .finally(() => port.close())
