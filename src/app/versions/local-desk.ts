/** Versions as this process has them, as routes, command line and dashboard see them. */
import { ServiceError } from '../../base/errors.ts'
import type {
  VersionsDesk,
  VersionsView,
  VersionView,
} from '../../serving/versions/versions-desk.ts'
import type { ModelConfig } from '../config/config-model-schema.ts'
import { differing } from './open-versions.ts'
import type { RunningVersion } from './running-version.ts'
import { type VersionEntry, versionOf } from './version-list.ts'
import type { VersionRecommender } from './version-recommender.ts'
import type { Versions } from './versions.ts'

export interface LocalDeskOptions {
  readonly versions: Versions
  readonly recommender: VersionRecommender
  readonly max: number
  /** Checks a `model` part. Throws `CONFIG_INVALID`. */
  readonly parse: (model: unknown) => ModelConfig
}

export class LocalDesk implements VersionsDesk {
  readonly #options: LocalDeskOptions

  constructor(options: LocalDeskOptions) {
    this.#options = options
  }

  view(): VersionsView {
    const { versions, max } = this.#options
    const { primary, previous } = versions.list
    return {
      primary,
      ...(previous !== undefined && { previous }),
      max,
      versions: versions.list.versions.map((entry) => this.#viewOf(entry)),
    }
  }

  one(name: string): VersionView {
    return this.#viewOf(versionOf(this.#options.versions.list, name))
  }

  async add(request: { readonly name?: string; readonly model: unknown }): Promise<VersionView> {
    const model = this.#parse(request.model)
    const { name = model.name } = request
    await this.#options.versions.add(name, model)
    return this.one(name)
  }

  async setTraffic(name: string, percent: number): Promise<VersionView> {
    await this.#options.versions.setTraffic(name, percent)
    return this.one(name)
  }

  async promote(name: string): Promise<VersionsView> {
    await this.#options.versions.promote(name)
    return this.view()
  }

  async rollBack(): Promise<VersionsView> {
    await this.#options.versions.rollBack()
    return this.view()
  }

  async remove(name: string): Promise<void> {
    await this.#options.versions.remove(name)
  }

  #parse(model: unknown): ModelConfig {
    try {
      return this.#options.parse(model)
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'CONFIG_INVALID') throw error
      const { path = 'model', reason = '' } = error.details
      throw new ServiceError('REQUEST_INVALID', { path, in: 'body', reason }, { cause: error })
    }
  }

  #viewOf(entry: VersionEntry): VersionView {
    const { versions } = this.#options
    const { list } = versions
    const running = versions.running.find(({ name }) => name === entry.name)
    const isPrimary = entry.name === list.primary
    const others = list.versions.reduce((sum, { percent }) => sum + percent, 0)
    return {
      name: entry.name,
      role: isPrimary ? 'primary' : entry.name === list.previous ? 'previous' : 'candidate',
      percent: isPrimary ? 100 - others : entry.percent,
      createdAt: entry.createdAt,
      differs: isPrimary ? [] : differing(versions.entry.model, entry.model),
      ...(running === undefined ? { state: 'starting' } : this.#stateOf(running)),
    }
  }

  #stateOf(running: RunningVersion) {
    const { missing, state, learning } = running
    const { serving } = running.parts
    const overlap = this.#options.recommender.overlapOf(running)
    const hasIndex = serving !== undefined && state !== 'starting' && state !== 'failed'
    return {
      state,
      ...(missing !== undefined && { missing }),
      ...learning,
      ...(hasIndex && { index: indexOf(serving.liveIndex.stats().index) }),
      ...(overlap?.mean !== undefined && {
        overlap: { mean: overlap.mean, lists: overlap.count },
      }),
    }
  }
}

const indexOf = ({ items, bytes }: { items: number; bytes: number }) => ({ items, bytes })
