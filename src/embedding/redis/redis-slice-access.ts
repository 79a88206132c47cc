/**
 * Commands to slices, with the proof that nothing is lost (`redis-scripts.ts`): every change leaves
 * its number in the slices that it touches, every read asks for that number after the rows, and a
 * number below what was confirmed means that the server has lost writes, whatever the reason.
 *
 * Invariants: `#confirmed[s]` is the number of the last change of slice s that was confirmed; one
 * change is under way at a time, and those after it have greater numbers.
 */
import type { RedisArgument } from '../../redis/redis-connection.ts'
import { evaluate, type RedisScript } from '../../redis/redis-script.ts'
import { ChangeMismatch } from './redis-calls.ts'
import { arrayOf } from './redis-records.ts'
import type { SliceClaims, SliceOwner } from './redis-slice-header.ts'
import type { SliceNames } from './redis-slices.ts'

/** A change of one slice. */
export interface SliceChange {
  readonly slice: number
  readonly number: number
  readonly args: readonly RedisArgument[]
}

export class SliceAccess {
  readonly #owner: SliceOwner
  #names: readonly SliceNames[] = []
  #confirmed = new Float64Array(0)
  #number = 0
  #lastChange: Promise<unknown> = Promise.resolve()

  constructor(owner: SliceOwner) {
    this.#owner = owner
  }

  get names(): readonly SliceNames[] {
    return this.#names
  }

  /** Of the last change that was begun. */
  get number(): number {
    return this.#number
  }

  take(names: readonly SliceNames[], { number }: SliceClaims): void {
    this.#names = names
    this.#number = number
    this.#confirmed = new Float64Array(names.length).fill(number)
  }

  each<Result>(visit: (names: SliceNames, slice: number) => Promise<Result>): Promise<Result[]> {
    return Promise.all(this.#names.map(visit))
  }

  /** Resolves once every slice has answered that it has lost nothing. */
  async probe(): Promise<void> {
    await this.each((_, slice) => this.#check(slice, this.#confirmed[slice]))
  }

  /** A command of one slice, which has not gone back before it was answered. */
  async ask(slice: number, command: string, args: RedisArgument[]): Promise<unknown> {
    const confirmed = this.#confirmed[slice]
    const [reply] = await Promise.all([
      this.#owner.connection.call(command, args),
      this.#check(slice, confirmed),
    ])
    return reply
  }

  /** A guarded script, which changes a slice; what it results in. */
  async change(script: RedisScript, change: SliceChange): Promise<string> {
    const { slice, number, args } = change
    const confirmed = this.#confirmed[slice]
    const { rows, slice: name } = this.#names[slice]
    const guard = [this.#owner.writer, number, confirmed]
    const operands = [2, rows, name, ...guard, ...args]
    const reply = await evaluate(this.#owner.connection, script, operands)
    const [found, result] = arrayOf(reply)
    checkFound(Number(found), confirmed, slice)
    if (Number(found) > number) throw new ChangeMismatch('fenced', `slice ${slice}`)
    this.#confirmed[slice] = Math.max(this.#confirmed[slice], number)
    return Buffer.isBuffer(result) ? result.toString('latin1') : ''
  }

  /** With the next number, after every change asked for before. */
  exclusively<Result>(change: (number: number) => Promise<Result>): Promise<Result> {
    const begin = () => {
      this.#number += 1
      return change(this.#number)
    }
    const done = this.#lastChange.then(begin, begin)
    this.#lastChange = done.catch(() => undefined)
    return done
  }

  async #check(slice: number, confirmed: number): Promise<void> {
    const args = [this.#names[slice].slice, `writer:${this.#owner.writer}`]
    const found = await this.#owner.connection.call('HGET', args)
    checkFound(Number(found ?? -1), confirmed, slice)
  }
}

/** Throws when a slice has a lower number than it had confirmed. */
function checkFound(found: number, confirmed: number, slice: number): void {
  if (found >= confirmed) return
  throw new ChangeMismatch('wentBack', `slice ${slice} has change ${found}, not ${confirmed}`)
}
