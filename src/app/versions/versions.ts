/**
 * The versions of a process: one of them, the *primary*, answers and has the say in everything that
 * there is once; the others learn the same log beside it, each with a trainer, checkpoints, a
 * replica and an index of its own, and answer the users that the split gives them. A process of one
 * version is the primary alone, and nothing of this costs it anything.
 *
 * Invariants: the list is durable before it is acted on; whoever is given traffic, or made the
 * primary, is ready; a version that fails, but for the primary, harms nobody.
 */
import { ServiceError } from '../../base/errors.ts'
import type { Service } from '../../base/service.ts'
import { TrafficSplit } from '../../serving/versions/traffic-split.ts'
import type { ModelConfig } from '../config/config-model-schema.ts'
import { differing } from './open-versions.ts'
import { RunningVersion, type VersionParts, type WarmthOptions } from './running-version.ts'
import {
  rolledBack,
  type VersionEntry,
  type VersionList,
  versionOf,
  withoutVersion,
  withPrimary,
  withTraffic,
  withVersion,
} from './version-list.ts'

export interface VersionsOptions extends WarmthOptions {
  readonly list: VersionList
  readonly max: number
  readonly now: () => number
  /** Composes a version; `fail` when a part of it has failed. */
  readonly make: (entry: VersionEntry, fail: (error: unknown) => void) => Promise<VersionParts>
  /** Makes a change of the list durable, and gives the list as it is then. */
  readonly keep: (
    list: VersionList,
    change: (list: VersionList) => VersionList,
  ) => Promise<VersionList>
  /**
   * What other processes wait for before a version may answer, `isBack`: again; undefined: for
   * nothing.
   */
  readonly missingElsewhere?: (name: string, isBack: boolean) => string | undefined
  /** One that has failed, but the primary, begins anew after so long; absent: never. */
  readonly retryMs?: number
  /** Removes what lies on disk of versions that the list does not have. */
  readonly sweep: (list: VersionList) => Promise<void>
  /** The primary has failed. */
  readonly onFailure: (error: unknown) => void
  /** Another one has failed, or could not be swept away. */
  readonly onTrouble: (name: string, error: unknown) => void
  /** Whether those beside the primary are of this process, too. */
  readonly hasOthers: boolean
}

export class Versions implements Service {
  readonly name = 'versions'
  readonly #options: VersionsOptions
  readonly #running = new Map<string, RunningVersion>()
  readonly #stopping = new AbortController()
  readonly #starts = new Map<string, Promise<void>>()
  readonly #listeners: (() => void)[] = []
  #list: VersionList
  #split: TrafficSplit<RunningVersion>
  /** What changes the list, one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  /** The primary composed; the others follow with `startOthers`. */
  static async create(options: VersionsOptions): Promise<Versions> {
    const { list } = options
    const entry = versionOf(list, list.primary)
    const holder: { versions?: Versions } = {}
    const parts = await options.make(entry, (error) => holder.versions?.fail(entry.name, error))
    const versions = new Versions(options, new RunningVersion(entry, parts, options))
    holder.versions = versions
    return versions
  }

  private constructor(options: VersionsOptions, primary: RunningVersion) {
    this.#options = options
    this.#list = options.list
    this.#running.set(primary.name, primary)
    this.#split = new TrafficSplit(primary, [])
  }

  get list(): VersionList {
    return this.#list
  }

  get primary(): RunningVersion {
    return this.#split.primary
  }

  /** Of the primary. */
  get entry(): VersionEntry {
    return versionOf(this.#list, this.#list.primary)
  }

  /** At work or not any more, in the order in which they came. */
  get running(): readonly RunningVersion[] {
    return this.#list.versions.flatMap(({ name }) => this.#running.get(name) ?? [])
  }

  /** Whether there is one version, and nothing to compare. */
  get isAlone(): boolean {
    return this.#list.versions.length === 1
  }

  /** Those that answer anybody now. */
  get answering(): readonly RunningVersion[] {
    const { primary } = this
    return this.#split.versions.filter((one) => one === primary || one.state === 'ready')
  }

  /** Who answers a user; whoever cannot is stood in for by the primary. */
  of(userId: string | undefined): RunningVersion {
    const chosen = this.#split.of(userId)
    return chosen === this.primary || chosen.state === 'ready' ? chosen : this.primary
  }

  /** Throws `VERSION_UNKNOWN`, `VERSION_NOT_READY`. */
  ready(name: string): RunningVersion {
    versionOf(this.#list, name)
    const version = this.#running.get(name)
    const reason = version === undefined ? 'it is being started' : version.missing
    if (version === undefined || (reason !== undefined && version !== this.primary)) {
      throw new ServiceError('VERSION_NOT_READY', { version: name, reason: reason ?? '' })
    }
    return version
  }

  /** `hear` is called when the list has changed. */
  listen(hear: () => void): void {
    this.#listeners.push(hear)
  }

  start(signal: AbortSignal): Promise<void> {
    return this.primary.start(signal)
  }

  /** In the background: nobody waits for them. */
  startOthers(): void {
    if (!this.#options.hasOthers) return
    for (const entry of this.#list.versions) this.#launch(entry)
    this.#sweep()
  }

  drain(): Promise<void> {
    this.#stopping.abort()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#starts.values())
    const ended = await Promise.allSettled([...this.#running.values()].map((one) => one.stop()))
    for (const result of ended) if (result.status === 'rejected') throw result.reason
  }

  /** Begins to learn the log from its start. Throws `VERSION_EXISTS`, `VERSIONS_FULL`. */
  add(name: string, model: ModelConfig): Promise<void> {
    return this.#change((list) => {
      const { max, now } = this.#options
      return withVersion(list, { name, model, createdAt: now() }, max)
    })
  }

  /** Throws `VERSION_UNKNOWN`, `VERSION_ANSWERS`, `VERSION_NOT_READY`, `REQUEST_INVALID`. */
  setTraffic(name: string, percent: number): Promise<void> {
    return this.#change((list) => {
      const next = withTraffic(list, name, percent)
      if (percent > 0) this.#readyEverywhere(name)
      return next
    })
  }

  /** From the next request on. Throws `VERSION_UNKNOWN`, `VERSION_NOT_READY`. */
  promote(name: string): Promise<void> {
    return this.#change((list) => {
      const next = withPrimary(list, name)
      this.#readyEverywhere(name)
      return next
    })
  }

  /** To the one before. Throws `VERSION_NONE_BEFORE`, `VERSION_NOT_READY`. */
  rollBack(): Promise<void> {
    return this.#change((list) => {
      const next = rolledBack(list)
      this.#readyEverywhere(next.primary, true)
      return next
    })
  }

  /** With all that it has learned. Throws `VERSION_UNKNOWN`, `VERSION_ANSWERS`. */
  remove(name: string): Promise<void> {
    return this.#change((list) => withoutVersion(list, name))
  }

  /** Another process has changed the list; `read` gives the newest. */
  follow(read: () => VersionList): void {
    this.#last = this.#last
      .then(() => {
        this.#list = read()
        return this.#act()
      })
      .catch((error: unknown) => this.#options.onFailure(error))
  }

  /** A part of a version has failed. */
  fail(name: string, error: unknown): void {
    const version = this.#running.get(name)
    version?.fail(error)
    if (version === this.primary) {
      this.#options.onFailure(error)
      return
    }
    this.#options.onTrouble(name, error)
    const { retryMs } = this.#options
    if (retryMs !== undefined) setTimeout(() => this.#again(version), retryMs).unref()
  }

  /** Throws `VERSION_NOT_READY`. */
  #readyEverywhere(name: string, isBack = false): void {
    this.ready(name)
    const reason = this.#options.missingElsewhere?.(name, isBack)
    if (reason !== undefined) throw new ServiceError('VERSION_NOT_READY', { version: name, reason })
  }

  /** With whatever it has on disk. */
  #again(version: RunningVersion | undefined): void {
    if (version !== undefined) this.#last = this.#last.then(() => this.#anew(version))
  }

  async #anew(version: RunningVersion): Promise<void> {
    const isOver = this.#stopping.signal.aborted || version === this.primary
    if (isOver || this.#running.get(version.name) !== version) return
    await this.#end(version)
    for (const entry of this.#list.versions) this.#launch(entry)
  }

  async #end(version: RunningVersion): Promise<void> {
    const { name } = version
    this.#running.delete(name)
    this.#route()
    await version.stop().catch((error: unknown) => this.#options.onTrouble(name, error))
  }

  /** Written first, then acted on; one change at a time. */
  #change(change: (list: VersionList) => VersionList): Promise<void> {
    const before = this.#last
    const done = this.#changeAfter(before, change)
    this.#last = done.catch(() => undefined)
    return done
  }

  async #changeAfter(
    before: Promise<unknown>,
    change: (list: VersionList) => VersionList,
  ): Promise<void> {
    await before
    this.#list = await this.#options.keep(this.#list, change)
    await this.#act()
  }

  async #act(): Promise<void> {
    this.#route()
    await this.#endGone()
    for (const entry of this.#list.versions) this.#launch(entry)
  }

  /** The primary stays until the one that follows it is there. */
  async #endGone(): Promise<void> {
    for (const version of this.#running.values()) {
      const { name, entry } = version
      if (isKept(entry, this.#list)) continue
      if (version !== this.primary) {
        await this.#end(version)
        await this.#options.sweep(this.#list)
      } else if (this.#list.primary === name) {
        const reason = 'its model is another one now: this process is to be started again'
        throw new ServiceError('VERSION_NOT_READY', { version: name, reason })
      }
    }
  }

  #route(): void {
    const primary = this.#running.get(this.#list.primary) ?? this.primary
    const shares = this.#list.versions.flatMap(({ name, percent }) => {
      const version = this.#running.get(name)
      return version === undefined || version === primary ? [] : [{ version, percent }]
    })
    this.#split = new TrafficSplit(primary, shares)
    for (const hear of this.#listeners) hear()
  }

  /** One that is there already is left as it is. */
  #launch(entry: VersionEntry): void {
    const { signal } = this.#stopping
    const { name } = entry
    if (signal.aborted || this.#running.has(name) || this.#starts.has(name)) return
    const start = this.#begin(entry, signal)
      .catch((error: unknown) => {
        if (!signal.aborted) this.fail(entry.name, error)
      })
      .finally(() => {
        this.#starts.delete(name)
        // It may have come to be another one's name meanwhile.
        for (const other of this.#list.versions) this.#launch(other)
      })
    this.#starts.set(name, start)
  }

  async #begin(entry: VersionEntry, signal: AbortSignal): Promise<void> {
    const parts = await this.#made(entry)
    // It may have been removed meanwhile.
    if (!isKept(entry, this.#list)) return
    const version = new RunningVersion(entry, parts, this.#options)
    this.#running.set(entry.name, version)
    this.#route()
    this.#last = this.#last
      .then(() => this.#endGone())
      .catch((error: unknown) => this.#options.onFailure(error))
    await version.start(signal)
  }

  /** One that cannot even be composed is there, too, and has failed. */
  async #made(entry: VersionEntry): Promise<VersionParts> {
    const none = { trainer: undefined, serving: undefined, asked: [] }
    try {
      return await this.#options.make(entry, (error) => this.fail(entry.name, error))
    } catch (error) {
      const version = new RunningVersion(entry, none, this.#options)
      this.#running.set(entry.name, version)
      throw error
    }
  }

  #sweep(): void {
    const swept = this.#options.sweep(this.#list)
    this.#last = swept.catch((error: unknown) => this.#options.onTrouble('', error))
  }
}

/** Whether it is there, under this name and with what it has learned. */
const isKept = ({ name, createdAt, model }: VersionEntry, { versions }: VersionList): boolean =>
  versions.some(
    (other) =>
      other.name === name &&
      (other.createdAt === createdAt || differing(other.model, model).length === 0),
  )
