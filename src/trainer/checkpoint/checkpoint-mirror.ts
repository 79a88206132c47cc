/**
 * Keeps the folder of checkpoints and their copies elsewhere in step. The copies are what counts:
 * the folder has what this machine wrote or needs, and may be empty at every start.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { ServiceError } from '../../base/errors.ts'
import { isRedoPart } from '../far-rows.ts'
import type { TrainerReport } from '../trainer-status.ts'
import type { CheckpointCopies, CheckpointCopy } from './checkpoint-copies.ts'
import { type CheckpointHeader, checkpointName, CheckpointStore } from './checkpoint.ts'

export interface CheckpointMirrorOptions {
  readonly directory: string
  /** Older ones are removed. */
  readonly keep: number
  readonly copies: CheckpointCopies
  readonly report: (report: TrainerReport) => void
}

/** Why one must not be started from; undefined: it may. */
export type Refuse = (header: CheckpointHeader) => string | undefined

export class CheckpointMirror {
  readonly #options: CheckpointMirrorOptions
  readonly #store: CheckpointStore

  constructor(options: CheckpointMirrorOptions) {
    this.#options = options
    this.#store = new CheckpointStore({ directory: options.directory, keep: Infinity })
  }

  /**
   * Makes the newest whole copy the newest checkpoint of the folder, with what it needs: the full
   * one that it is a delta to; all older ones where they can bring a row store up to date. Where
   * there are no copies the folder stays as it is. Throws `CHECKPOINT_STORE_*`.
   */
  async fetch(refuse: Refuse): Promise<void> {
    const all = await this.#options.copies.list()
    for (const copy of all.toReversed()) {
      const reason = await this.#take(copy, { all, refuse }).catch(reasonOf)
      if (reason === undefined) return
      const directory = this.#placeOf(copy)
      const message = `checkpoint ${directory} is passed over: ${reason}`
      this.#report('error', 'checkpointDamaged', message, { directory, reason })
    }
    if (all.length > 0) await this.#keepOnly([])
  }

  /**
   * The newest whole copy, with what it needs, is in the folder when it resolves, as far as it can
   * be had; those that are older than all copies leave. Whether it is good is found out by `fetch`.
   */
  async fetchAhead(): Promise<void> {
    const { copies, directory } = this.#options
    const all = await copies.list()
    const newest = all.at(-1)
    if (newest === undefined) return
    const oldest = all[0].sequence
    for (const sequence of this.#store.sequences().filter((one) => one < oldest)) {
      await rm(join(directory, checkpointName(sequence)), { recursive: true, force: true })
    }
    if (await this.#has([newest])) return
    const { base } = await copies.manifest(newest)
    const full = all.findLast(({ sequence }) => sequence === base)
    await this.#fetchSome(full === undefined ? [newest] : [full, newest])
    this.#reportFetched(newest)
  }

  /**
   * Copies one that the folder has. What the oldest copy says; undefined: it is not known. Throws
   * `CHECKPOINT_FAILED`, and then the folder has it no more.
   */
  async send(sequence: number): Promise<CheckpointHeader | undefined> {
    const { copies, directory } = this.#options
    const path = join(directory, checkpointName(sequence))
    try {
      await this.#sendBaseOf(sequence)
      await copies.write(path)
    } catch (cause) {
      await rm(path, { recursive: true, force: true })
      const details = { directory: copies.place, reason: String(cause) }
      throw new ServiceError('CHECKPOINT_FAILED', details, { cause })
    }
    return await this.#prune()
  }

  /** What the oldest copy says. */
  async oldest(): Promise<CheckpointHeader | undefined> {
    return await this.#options.copies.oldest()
  }

  /** Why it cannot be had; undefined: it is there. */
  async #take(
    copy: CheckpointCopy,
    { all, refuse }: { readonly all: readonly CheckpointCopy[]; readonly refuse: Refuse },
  ): Promise<string | undefined> {
    const { copies, directory } = this.#options
    const manifest = await copies.manifest(copy)
    const reason = refuse(manifest)
    if (reason !== undefined) return reason
    const base = all.findLast(({ sequence }) => sequence === manifest.base)
    if (manifest.base !== undefined && base === undefined) return `${manifest.base} is gone`
    const needed = base === undefined ? [copy] : [base, copy]
    const older = all.filter(({ sequence }) => sequence < copy.sequence)
    const useful = manifest.files.some(({ name }) => isRedoPart(name)) ? older : []
    await this.#keepOnly([...useful, ...needed])
    await this.#fetchSome(useful)
    if ((await this.#has(needed)) && this.#newest() === copy.sequence) return undefined
    for (const one of needed) await copies.fetch(one, directory)
    this.#reportFetched(copy)
    return this.#store.sequences().at(-1) === copy.sequence ? undefined : 'it is not the newest'
  }

  /** Those that are whole, and not there. */
  async #fetchSome(wanted: readonly CheckpointCopy[]): Promise<void> {
    const { copies, directory } = this.#options
    for (const copy of wanted) {
      try {
        if (!(await copies.isIn(copy, directory))) await copies.fetch(copy, directory)
      } catch (error) {
        reasonOf(error)
      }
    }
  }

  #reportFetched(copy: CheckpointCopy): void {
    const message = `fetched checkpoint ${this.#placeOf(copy)}`
    this.#report('info', 'checkpointFetched', message, { sequence: copy.sequence })
  }

  #newest(): number | undefined {
    return this.#store.newest(() => undefined)?.sequence
  }

  async #has(needed: readonly CheckpointCopy[]): Promise<boolean> {
    const { copies, directory } = this.#options
    const found = await Promise.all(needed.map((copy) => copies.isIn(copy, directory)))
    return found.every(Boolean)
  }

  async #keepOnly(needed: readonly CheckpointCopy[]): Promise<void> {
    const kept = new Set(needed.map(({ sequence }) => sequence))
    for (const sequence of this.#store.sequences().filter((one) => !kept.has(one))) {
      const path = join(this.#options.directory, checkpointName(sequence))
      await rm(path, { recursive: true, force: true })
    }
  }

  /** One that was written before there were copies. */
  async #sendBaseOf(sequence: number): Promise<void> {
    const { copies, directory } = this.#options
    const base = this.#store.baseOf(sequence)
    if (base === undefined) return
    const all = await copies.list()
    if (all.some((copy) => copy.sequence === base)) return
    await copies.write(join(directory, checkpointName(base)))
  }

  async #prune(): Promise<CheckpointHeader | undefined> {
    const { copies, keep } = this.#options
    try {
      return await copies.prune(keep)
    } catch (error) {
      this.#report('warn', 'copiesNotPruned', `old copies are still there: ${String(error)}`, {})
      return undefined
    }
  }

  #placeOf({ sequence, epoch }: CheckpointCopy): string {
    return `${this.#options.copies.place}${checkpointName(sequence)}/${epoch}`
  }

  #report(
    level: TrainerReport['level'],
    code: TrainerReport['code'],
    message: string,
    details: TrainerReport['details'],
  ): void {
    this.#options.report({ level, code, message, details })
  }
}

/** What is damaged is passed over; what cannot be asked for ends the start. */
function reasonOf(error: unknown): string {
  if (error instanceof ServiceError) throw error
  return error instanceof Error ? error.message : String(error)
}
