/**
 * The serving role: folds the log, applies deltas, keeps the live index at work, answers.
 * Everything runs on one thread in short turns, the longest of a few milliseconds, so that no
 * request waits for maintenance. It is started when its loops run; whether it can answer is
 * `checks`.
 */
import { setTimeout as pause } from 'node:timers/promises'

import { present } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { Service } from '../base/service.ts'
import type { TableSpec } from '../embedding/table-spec.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import type { ModelSpec } from '../model/spec.ts'
import type { EventLogReader, LogBatch, Position } from '../stream/event-log.ts'
import type { FactsOptions } from '../stream/facts/facts.ts'
import type { Delta } from '../sync/delta.ts'
import type { ParameterSubscriber } from '../sync/parameter-sync.ts'
import { Alignment } from './alignment.ts'
import { Freshness } from './freshness.ts'
import { IndexWorker } from './index-worker.ts'
import { KeptIndex } from './kept-index.ts'
import { LiveIndex } from './live-index.ts'
import { OffsetWaiters } from './offset-waiters.ts'
import { QuerySample } from './query-sample.ts'
import { Replica } from './replica.ts'
import { Retriever } from './retriever.ts'
import { defaultServingSettings, type ServingSettings } from './serving-settings.ts'
import { Standstill } from './standstill.ts'
import { backgroundTurn } from './turns.ts'

export interface ServingOptions {
  readonly model: ModelSpec
  readonly tables: readonly TableSpec[]
  readonly facts: Partial<FactsOptions>
  readonly log: EventLogReader
  readonly parameters: ParameterSubscriber
  readonly clock: Clock
  readonly settings?: Partial<ServingSettings>
  readonly implementation?: KernelImplementation
  /**
   * Facts of the newest checkpoint and where they stand; without, the log is folded from its
   * start.
   */
  readonly start?: { readonly facts: Uint8Array; readonly position: Position }
  /** Where the index is kept over restarts; absent: nowhere. */
  readonly indexFile?: string
  /** What went wrong and did no harm but to the speed of the next start. */
  readonly onWarning?: (error: unknown) => void
  /** A loop has ended with an error: the service answers on from what it has, and is not ready. */
  readonly onFailure?: (error: unknown) => void
}

export interface ReadinessCheck {
  readonly name: 'facts' | 'parameters' | 'index'
  readonly ready: boolean
  readonly detail: string
}

/** How long a read of the log waits for an event, and an audit between two chunks, milliseconds. */
const readWaitMs = 1_000
const breathMs = 1
/** From look to look how far a rebuild is, and the part of it that embedding is taken for. */
const rebuildLookMs = 50
const embeddingShare = 0.8
const breathe = async (): Promise<void> => {
  await pause(breathMs)
  await backgroundTurn()
}

/** What exists from `start` on. */
interface Parts {
  readonly replica: Replica
  readonly kept: KeptIndex
  readonly liveIndex: LiveIndex
  readonly worker: IndexWorker
  readonly retriever: Retriever
  readonly alignment: Alignment
}

/** What the rest of the process asks of whoever answers now; read it when it is needed. */
export type ServingRole = Pick<
  ServingService,
  | 'replica'
  | 'liveIndex'
  | 'retriever'
  | 'alignment'
  | 'freshness'
  | 'sync'
  | 'checks'
  | 'waitFor'
  | 'rebuildIndex'
>

export class ServingService implements Service {
  readonly name = 'serving'
  readonly freshness: Freshness
  readonly #options: ServingOptions
  readonly #settings: ServingSettings
  readonly #waiters: OffsetWaiters
  readonly #standstill = new Standstill()
  readonly #stopping = new AbortController()
  readonly #loops: Promise<void>[] = []
  #parts: Parts | undefined
  /** The end of the log at start: facts are caught up from there on. */
  #target: Position = {}
  #factsReady = false
  /** Once: while new items come, one is always on its way into the index. */
  #indexReady = false
  #deltas = 0
  #resyncs = 0
  #isResyncing = false
  #failure: unknown

  constructor(options: ServingOptions) {
    this.#options = options
    this.#settings = { ...defaultServingSettings, ...options.settings }
    const compare = (a: string, b: string): number => options.log.compare(a, b)
    this.freshness = new Freshness(compare)
    this.#waiters = new OffsetWaiters(compare)
  }

  get replica(): Replica {
    return this.#started.replica
  }

  get liveIndex(): LiveIndex {
    return this.#started.liveIndex
  }

  get retriever(): Retriever {
    return this.#started.retriever
  }

  get alignment(): Alignment {
    return this.#started.alignment
  }

  /** Deltas applied since start, times that everything came anew, and whether more can come. */
  get sync() {
    const { sequence } = this.replica.state
    const isConnected = this.#options.parameters.failure === undefined
    return { sequence, deltas: this.#deltas, resyncs: this.#resyncs, isConnected }
  }

  async start(signal: AbortSignal): Promise<void> {
    const { log, start, clock, onFailure } = this.#options
    signal.throwIfAborted()
    this.#target = await log.end()
    const replica = await Replica.create(this.#options, start?.position ?? (await log.start()))
    this.#parts = this.#assemble(replica, clock)
    const keeping = this.#parts.kept.keep(this.#stopping.signal)
    for (const loop of [this.#foldLoop(), this.#parameterLoop(), this.#indexLoop(), keeping]) {
      const guarded = loop.catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return
        this.#failure = error
        onFailure?.(error)
      })
      this.#loops.push(guarded)
    }
  }

  /** Requests under way are answered within a turn: there is nothing to wait for. */
  drain(): Promise<void> {
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#waiters.close()
    await this.#options.parameters.close()
    await Promise.all(this.#loops)
    await this.#parts?.kept.close()
    await this.#parts?.replica.close()
  }

  checks(): readonly ReadinessCheck[] {
    const { replica, liveIndex } = this.#started
    const { items } = liveIndex.indexStats()
    const running = this.#failure === undefined
    const failed = running ? '' : ` (stopped: ${String(this.#failure)})`
    const { failure } = this.#options.parameters
    const cut = failure === undefined ? '' : ` (cut off: ${failure})`
    const { sequence, version } = replica.state
    return [
      {
        name: 'facts',
        ready: running && this.#factsReady,
        detail: `${replica.facts.events} events folded${failed}`,
      },
      {
        name: 'parameters',
        ready: running && replica.isComplete,
        detail: `sequence ${sequence}, version ${version}${failed}${cut}`,
      },
      {
        name: 'index',
        ready: this.#indexReady,
        detail: `${items} of ${replica.facts.catalogue.size} items embedded`,
      },
    ]
  }

  /** True once the event at `offset` is folded, false after `timeoutMs`. */
  waitFor(offset: string, timeoutMs: number, partition = 0): Promise<boolean> {
    return this.#waiters.wait({ partition, offset, timeoutMs }, this.replica.position)
  }

  /**
   * Embeds every item with the parameters of now and makes the index's structure anew, in the
   * slices and at the pace of the sweep, while the old one answers. `progress`: 0..1. Throws the
   * signal's reason.
   */
  async rebuildIndex(
    signal: AbortSignal,
    progress: (done: number) => void,
  ): Promise<{ readonly items: number }> {
    const { liveIndex } = this.#started
    liveIndex.renewAll()
    const items = Math.max(1, liveIndex.toRenew)
    const look = async (isOver: () => boolean, done: () => number): Promise<void> => {
      while (!isOver()) {
        signal.throwIfAborted()
        this.#stopping.signal.throwIfAborted()
        progress(done())
        await pause(rebuildLookMs)
      }
    }
    await look(
      () => liveIndex.toRenew === 0,
      () => embeddingShare * (1 - liveIndex.toRenew / items),
    )
    liveIndex.rebuild()
    await look(
      () => !liveIndex.isRebuilding,
      () => embeddingShare,
    )
    return { items: liveIndex.indexStats().items }
  }

  get #started(): Parts {
    return present(this.#parts, 'a started serving service')
  }

  #assemble(replica: Replica, clock: Clock): Parts {
    const { implementation = 'wasm' } = this.#options
    const { indexFile: file, onWarning = () => {} } = this.#options
    const { sampleQueries: capacity, sampleEvery: every } = this.#settings
    const settings = this.#settings
    const kept = new KeptIndex({ replica, settings, implementation, file, onWarning })
    const liveIndex = new LiveIndex(replica, kept.index, clock.now(), kept.ledger)
    const sample = new QuerySample({ capacity, every })
    return {
      replica,
      kept,
      liveIndex,
      worker: new IndexWorker(liveIndex, clock, settings),
      retriever: new Retriever({ replica, liveIndex, clock, sample }),
      alignment: new Alignment({
        replica,
        liveIndex,
        sample,
        breathe,
        standstill: this.#standstill,
        implementation,
      }),
    }
  }

  async #foldLoop(): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#stopping
    const { replica } = this.#started
    const options = { maxEvents: this.#settings.foldEvents, waitMs: readWaitMs, signal }
    while (!signal.aborted) {
      this.#factsReady ||= reaches(replica.position, this.#target, (a, b) => log.compare(a, b))
      const batches = await log.read(replica.position, options)
      for (const batch of batches) await this.#fold(batch)
    }
  }

  async #fold(batch: LogBatch): Promise<void> {
    const { clock } = this.#options
    const { replica, liveIndex } = this.#started
    const { partition, events, offsets } = batch
    await this.#standstill.turnToChange()
    const now = clock.now()
    let begin = clock.monotonic()
    for (let i = 0; i < events.length; i += 1) {
      if (clock.monotonic() - begin >= this.#settings.sliceMs) {
        await this.#standstill.turnToChange()
        begin = clock.monotonic()
      }
      const outcome = replica.fold(batch, i)
      liveIndex.react(outcome, now, events[i].acceptedAt)
      // Until it has caught up it folds again what was in effect before the restart.
      if (!this.#factsReady) continue
      const event = { partition, offset: offsets[i], acceptedAt: events[i].acceptedAt }
      this.freshness.folded(event, outcome.kind === 'interaction', clock.now())
    }
    this.freshness.settle(partition, clock.now())
    replica.finish(batch)
    this.#waiters.reached(replica.position)
  }

  async #parameterLoop(): Promise<void> {
    const { parameters } = this.#options
    await parameters.subscribe(0, (delta, complete) => this.#apply(delta, complete))
    if (!this.#stopping.signal.aborted) {
      throw new ServiceError('SYNC_CLOSED', { side: 'the trainer' })
    }
  }

  async #apply(delta: Delta, complete: boolean): Promise<void> {
    const { clock } = this.#options
    const { replica, liveIndex } = this.#started
    await this.#standstill.turnToChange()
    let begin = clock.monotonic()
    for (const handles of replica.apply(delta, complete)) {
      liveIndex.touch(handles)
      if (clock.monotonic() - begin < this.#settings.sliceMs) continue
      await this.#standstill.turnToChange()
      begin = clock.monotonic()
    }
    this.#deltas += 1
    if (delta.base === 0) {
      this.#resyncs += 1
      this.#isResyncing = true
    }
    if (complete && this.#isResyncing) {
      this.#isResyncing = false
      liveIndex.touchAll()
    }
    if (complete) this.freshness.learned(delta.watermark, liveIndex.touchedMark, clock.now())
  }

  /** Whether facts have, and every item of theirs has been embedded. */
  get #hasCaughtUp(): boolean {
    return this.#factsReady && this.liveIndex.isCaughtUp
  }

  async #indexLoop(): Promise<void> {
    const { clock } = this.#options
    const { replica, liveIndex, worker } = this.#started
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await backgroundTurn()
      // Vectors of a part of the parameters would have to be made again.
      const hurry = !this.#hasCaughtUp
      let done = replica.isComplete ? worker.slice({ hurry }) : 0
      if (liveIndex.isPressing) {
        await backgroundTurn()
        done += worker.press()
      }
      this.#indexReady ||= this.#hasCaughtUp && replica.isComplete
      liveIndex.expire(clock.now())
      this.freshness.embedded(liveIndex.drainedMark, clock.now())
      const goesOn = hurry ? done > 0 : worker.isBehind
      if (!goesOn) await pause(this.#settings.sliceIntervalMs)
    }
  }
}

/** Whether a position has passed everything before `target`. */
function reaches(
  position: Position,
  target: Position,
  compare: (a: string, b: string) => number,
): boolean {
  return Object.entries(target).every(([partition, end]) => {
    const at = position[Number(partition)]
    return at !== undefined && compare(at, end) >= 0
  })
}
