/**
 * Commands that wait for the trainer to stand between two batches, in the order of their arrival. A
 * command may take several steps, with batches in between; the next one waits for its end.
 */
import { ServiceError } from '../base/errors.ts'
import type { CommandResult, TrainerCommand } from './trainer-status.ts'

/** Told how far a command is, 0..1. */
export type OnProgress = (done: number) => void

interface Waiting {
  readonly command: TrainerCommand
  readonly onProgress: OnProgress
  readonly resolve: (result: CommandResult) => void
  readonly reject: (error: unknown) => void
}

/** A command at work: each `next` is a step between two batches, and says how far it is, 0..1. */
export type CommandWork = AsyncGenerator<number, CommandResult>

const maxWaiting = 100

export class CommandQueue {
  #waiting: Waiting[] = []
  #current: (Waiting & { readonly work: CommandWork }) | undefined
  #closed = false

  /** Commands that wait, and the one under way. */
  get size(): number {
    return this.#waiting.length + (this.#current === undefined ? 0 : 1)
  }

  /** Whether a command has begun and not ended. */
  get isUnderWay(): boolean {
    return this.#current !== undefined
  }

  /** Resolves when it has been executed. Throws `TRAINER_STOPPED`, `OVERLOADED`. */
  add(command: TrainerCommand, onProgress: OnProgress = () => {}): Promise<CommandResult> {
    if (this.#closed) return Promise.reject(new ServiceError('TRAINER_STOPPED', {}))
    if (this.size >= maxWaiting) {
      return Promise.reject(new ServiceError('OVERLOADED', { reason: 'commands to the trainer' }))
    }
    const { promise, resolve, reject } = Promise.withResolvers<CommandResult>()
    this.#waiting.push({ command, onProgress, resolve, reject })
    return promise
  }

  /**
   * A step of the command under way, or the first of the next. A command that fails rejects its own
   * promise only.
   */
  async advance(begin: (command: TrainerCommand) => CommandWork): Promise<void> {
    if (this.#current === undefined) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#current = { ...next, work: begin(next.command) }
    }
    const { work, onProgress, resolve, reject } = this.#current
    try {
      const step = await work.next()
      if (step.done !== true) {
        onProgress(step.value)
        return
      }
      resolve(step.value)
    } catch (error) {
      reject(error)
    }
    this.#current = undefined
  }

  /** What still waits is refused, and so is everything later. */
  close(): void {
    this.#closed = true
    const left = this.#current === undefined ? this.#waiting : [this.#current, ...this.#waiting]
    for (const { reject } of left) reject(new ServiceError('TRAINER_STOPPED', {}))
    this.#waiting = []
    this.#current = undefined
  }
}
