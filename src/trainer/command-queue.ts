/**
 * Commands that wait for the trainer to stand between two batches, in the order of their arrival.
 */
import { ServiceError } from '../base/errors.ts'
import type { CommandResult, TrainerCommand } from './trainer-status.ts'

interface Waiting {
  readonly command: TrainerCommand
  readonly resolve: (result: CommandResult) => void
  readonly reject: (error: unknown) => void
}

const maxWaiting = 100

export class CommandQueue {
  #waiting: Waiting[] = []
  #closed = false

  get size(): number {
    return this.#waiting.length
  }

  /** Resolves when it has been executed. Throws `TRAINER_STOPPED`, `OVERLOADED`. */
  add(command: TrainerCommand): Promise<CommandResult> {
    if (this.#closed) return Promise.reject(new ServiceError('TRAINER_STOPPED', {}))
    if (this.size >= maxWaiting) {
      return Promise.reject(new ServiceError('OVERLOADED', { reason: 'commands to the trainer' }))
    }
    const { promise, resolve, reject } = Promise.withResolvers<CommandResult>()
    this.#waiting.push({ command, resolve, reject })
    return promise
  }

  /** One after the other; a command that fails rejects its own promise only. */
  async executeAll(execute: (command: TrainerCommand) => Promise<CommandResult>): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    for (const { command, resolve, reject } of waiting) {
      await execute(command).then(resolve, reject)
    }
  }

  /** What still waits is refused, and so is everything later. */
  close(): void {
    this.#closed = true
    for (const { reject } of this.#waiting) reject(new ServiceError('TRAINER_STOPPED', {}))
    this.#waiting = []
  }
}
