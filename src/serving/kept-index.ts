/**
 * The index of a serving process and what goes with it: its second thread, the ledger of whose
 * vectors it has, and the file that it is saved to now and then, so that the next start does not
 * begin with nothing. What the file lacks, or has of items that are others now, is embedded anew.
 */
import { existsSync, rmSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

import { PartitionedIndex } from '../ann/partitioned-index.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import { IndexLedger } from './index-ledger.ts'
import { restoreIndex } from './index-save.ts'
import { IndexThread } from './index-thread.ts'
import { requestLimits } from './recommendation.ts'
import type { Replica } from './replica.ts'
import type { ServingSettings } from './serving-settings.ts'

export interface KeptIndexOptions {
  readonly replica: Replica
  readonly settings: ServingSettings
  readonly implementation: KernelImplementation
  /** Absent: it is kept nowhere. */
  readonly file: string | undefined
  /** A file that could not be read or written; the index goes on without. */
  readonly onWarning: (error: unknown) => void
}

/** An index and whose vectors it has. */
interface Holding {
  readonly index: PartitionedIndex
  readonly ledger: IndexLedger
}

/** Invariant: the ledger has the identity of every vector that came from the file. */
export class KeptIndex {
  readonly index: PartitionedIndex
  readonly ledger: IndexLedger
  readonly #options: KeptIndexOptions
  readonly #thread = new IndexThread()

  /** Takes what the file has. A damaged one is removed and reported. */
  constructor(options: KeptIndexOptions) {
    this.#options = options
    const { index, ledger } = this.#restored() ?? this.#empty()
    this.index = index
    this.ledger = ledger
  }

  /** Saves it at intervals until the signal comes, and once more then. */
  async keep(signal: AbortSignal): Promise<void> {
    const { saveIntervalMs } = this.#options.settings
    while (!signal.aborted) {
      await pause(saveIntervalMs, undefined, { signal, ref: false }).catch(() => {})
      await this.#save()
    }
  }

  close(): Promise<void> {
    return this.#thread.close()
  }

  /** A small one is not worth it: it is embedded in no time. */
  async #save(): Promise<void> {
    const { file, onWarning } = this.#options
    if (file === undefined || this.index.stats().tree === undefined) return
    await this.#thread.save(this.index, file, this.ledger.shared).catch(onWarning)
  }

  #restored(): Holding | undefined {
    const { file, onWarning, replica } = this.#options
    if (file === undefined || !existsSync(file)) return undefined
    const { catalogue } = replica.facts
    const holding = this.#empty()
    try {
      restoreIndex(file, { ...holding, itemAt: (handle) => catalogue.byHandle(handle)?.id })
      return holding
    } catch (error) {
      onWarning(error)
      rmSync(file, { force: true })
      return undefined
    }
  }

  #empty(): Holding {
    const { replica, settings, implementation } = this.#options
    const { handleCapacity: capacityItems } = replica.facts.catalogue
    const index = new PartitionedIndex({
      dim: replica.indexDim,
      exactDims: 1,
      capacityItems,
      flatBelow: settings.exactBelow,
      recallTarget: settings.recallTarget,
      maxK: requestLimits.items + requestLimits.offset,
      implementation,
      background: this.#thread,
    })
    return { index, ledger: new IndexLedger(capacityItems) }
  }
}
