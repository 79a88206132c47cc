/**
 * Answers requests by the version that has the user, and now and then puts one to every version, to
 * see how alike their lists are.
 */
import { present } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Readers } from '../../serving/http/dependencies.ts'
import type { RecommendRequest, Recommendations } from '../../serving/recommendation.ts'
import type { ServingService } from '../../serving/serving-service.ts'
import { comparedItems, ListOverlap, overlapOf } from '../../serving/versions/list-overlap.ts'
import type { RunningVersion } from './running-version.ts'
import type { Versions } from './versions.ts'

type Recommender = Readers['recommender']

const servingOf = ({ parts }: RunningVersion): ServingService => present(parts.serving, 'a replica')

interface VersionRecommenderOptions {
  /** Of so many requests one is compared. */
  readonly compareEvery: number
  /** A comparison has failed by a fault of ours. */
  readonly onTrouble: (error: unknown) => void
}

export class VersionRecommender implements Recommender {
  readonly #versions: Versions
  readonly #options: VersionRecommenderOptions
  readonly #overlaps = new WeakMap<RunningVersion, ListOverlap>()
  #requests = 0
  #isComparing = false

  constructor(versions: Versions, options: VersionRecommenderOptions) {
    this.#versions = versions
    this.#options = options
  }

  /** Of a version's lists with the primary's. */
  overlapOf(version: RunningVersion): ListOverlap | undefined {
    return this.#overlaps.get(version)
  }

  async recommend(request: RecommendRequest): Promise<Recommendations> {
    const version = this.#versionOf(request)
    const found = await servingOf(version).retriever.recommend(request)
    if (this.#isDue(request)) void this.#compare(request)
    return named(found, version)
  }

  async similar(
    request: Parameters<Recommender['similar']>[0],
  ): ReturnType<Recommender['similar']> {
    const { primary } = this.#versions
    return named(await servingOf(primary).retriever.similar(request), primary)
  }

  async embedQuery(request: RecommendRequest): ReturnType<Recommender['embedQuery']> {
    const version = this.#versionOf(request)
    return named(await servingOf(version).retriever.embedQuery(request), version)
  }

  async embedItem(itemId: string): ReturnType<Recommender['embedItem']> {
    const { primary } = this.#versions
    return named(await servingOf(primary).retriever.embedItem(itemId), primary)
  }

  /** Throws `VERSION_UNKNOWN`, `VERSION_NOT_READY`. */
  #versionOf({ version, userId }: RecommendRequest): RunningVersion {
    return version === undefined ? this.#versions.of(userId) : this.#versions.ready(version)
  }

  #isDue({ userId, version, among }: RecommendRequest): boolean {
    if (this.#versions.isAlone || userId === undefined) return false
    if (version !== undefined || among !== undefined) return false
    this.#requests += 1
    return this.#requests % this.#options.compareEvery === 0 && !this.#isComparing
  }

  /** The same request, put to all that can answer it. A busy service leaves it out. */
  async #compare(request: RecommendRequest): Promise<void> {
    const { primary, running } = this.#versions
    const others = running.filter((one) => one !== primary && one.state === 'ready')
    const asked = { ...request, n: comparedItems, offset: 0, explain: false }
    const idsOf = async (version: RunningVersion): Promise<readonly string[]> =>
      (await servingOf(version).retriever.recommend(asked)).items.map(({ id }) => id)
    this.#isComparing = true
    try {
      const [own, ...lists] = await Promise.all([primary, ...others].map(idsOf))
      for (const [i, list] of lists.entries()) this.#add(others[i], overlapOf(own, list))
    } catch (error) {
      // Nobody waits for it: what is busy, or is being stopped, is not compared.
      if (!(error instanceof ServiceError)) this.#options.onTrouble(error)
    } finally {
      this.#isComparing = false
    }
  }

  #add(version: RunningVersion, overlap: number): void {
    const known = this.#overlaps.get(version) ?? new ListOverlap()
    known.add(overlap)
    this.#overlaps.set(version, known)
  }
}

const named = <Found extends Pick<Recommendations, 'model'>>(
  found: Found,
  { name }: RunningVersion,
): Found => ({ ...found, model: { name, ...found.model } })
