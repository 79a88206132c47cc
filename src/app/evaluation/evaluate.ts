/**
 * `freshet evaluate`: the published offline protocols with the service's own model and training
 * step. The whole catalogue of the files is ranked for every held-out interaction.
 */
import { present } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { QueryInput } from '../../model/inputs.ts'
import type { Interaction } from '../../stream/event.ts'
import { FarRows } from '../../trainer/far-rows.ts'
import type { Config } from '../config/config-schema.ts'
import { farRowsOptions } from '../config/far-rows-options.ts'
import { trainerModel } from '../options.ts'
import { type Question, rankAll } from './full-ranking.ts'
import { type GivenNegatives, type ItemText, readNegatives, readTitles } from './item-files.ts'
import { OfflineLearner } from './offline-learner.ts'
import { offlineMetrics, type OfflineMetrics } from './offline-metrics.ts'
import { inTimeOrder, type Split, split, type SplitSpec } from './split.ts'

export interface EvaluateOptions {
  readonly config: Config
  /** Either all interactions and how to split them, or the two parts. */
  readonly data:
    | { readonly all: readonly Interaction[]; readonly split: SplitSpec }
    | Split<Interaction>
  /** Leaves what a user was trained on out of the user's ranking. */
  readonly maskTrain: boolean
  readonly epochs: number
  readonly titles: string | undefined
  readonly negatives: string | undefined
  readonly threads: number
  readonly clock: Clock
  readonly progress: (line: string) => void
}

export interface EvaluateResult {
  readonly metrics: OfflineMetrics
  readonly evaluated: number
  /** Of these, misses since the model's score of the item was no finite number. */
  readonly notFinite: number
  readonly trainSeconds: number
  readonly loss: number
  readonly counts: {
    readonly train: number
    readonly test: number
    readonly users: number
    readonly items: number
    readonly epochs: number
  }
}

export async function evaluate(options: EvaluateOptions): Promise<EvaluateResult> {
  const { config, data, clock, progress } = options
  const given = options.negatives === undefined ? [] : readNegatives(options.negatives)
  const parts = 'all' in data ? split(data.all, data.split, given) : data
  if (parts.train.length === 0 || parts.test.length === 0) {
    throw new ServiceError('USAGE_INVALID', { what: 'evaluate', reason: 'a part has no lines' })
  }
  const learner = await OfflineLearner.create(trainerModel(config.model), {
    threads: options.threads,
    kernels: config.process.kernels,
    farRows: await openFarRows(options),
  })
  try {
    const startedAt = clock.monotonic()
    foldItems(learner, parts, options.titles)
    for (const interaction of inTimeOrder(parts.train)) learner.fold(interaction)
    const { finalRate = 1 } = config.model.offline
    let loss = 0
    for (let epoch = 1; epoch <= options.epochs; epoch += 1) {
      loss = await learner.epoch({ number: epoch, of: options.epochs, finalRate })
      progress(`epoch ${epoch} of ${options.epochs}: loss ${loss.toFixed(4)}`)
    }
    const trainSeconds = (clock.monotonic() - startedAt) / 1000
    progress(`ranking ${parts.test.length} held-out interactions`)
    const { metrics, notFinite } = await rank(learner, parts, { ...options, given })
    if (notFinite > 0) progress(`${notFinite} scores are no finite numbers, and count as misses`)
    const users = new Set(parts.train.map(({ userId }) => userId)).size
    return {
      metrics,
      evaluated: parts.test.length,
      notFinite,
      trainSeconds,
      loss,
      counts: {
        train: parts.train.length,
        test: parts.test.length,
        users,
        items: learner.facts.catalogue.size,
        epochs: options.epochs,
      },
    }
  } finally {
    await learner.close()
  }
}

/** Nothing of an evaluation outlives it: its rows lie under a tag of their own. */
async function openFarRows({ config, clock, progress }: EvaluateOptions) {
  const options = farRowsOptions(config, false)
  if (options === undefined) return undefined
  const farRows = await FarRows.open({
    options,
    tables: trainerModel(config.model).tables,
    kernels: config.process.kernels,
    clock,
    checkpoints: undefined,
    report: ({ message }) => progress(message),
  })
  await farRows.start(-1)
  return farRows
}

/**
 * Every item of either part is known before the first interaction, with its title if there is one.
 */
function foldItems(
  learner: OfflineLearner,
  { train, test }: Split<Interaction>,
  titles: string | undefined,
): void {
  const texts = titles === undefined ? [] : readTitles(titles)
  const byId = new Map(texts.map((text) => [text.itemId, text]))
  const itemIds = new Set([...train, ...test].map(({ itemId }) => itemId))
  const timestamp = Math.min(...[train, test].map((part) => earliest(part)))
  for (const itemId of [...itemIds].toSorted()) {
    const features = featuresOf(byId.get(itemId))
    const item = { kind: 'item', mode: 'replace', itemId, features } as const
    learner.fold({ ...item, timestamp, acceptedAt: timestamp })
  }
}

const earliest = (part: readonly Interaction[]): number =>
  part.reduce((least, { timestamp }) => Math.min(least, timestamp), Infinity)

const featuresOf = (text: ItemText | undefined): Record<string, string | readonly string[]> => {
  if (text === undefined) return {}
  const { title, genres } = text
  return genres.length === 0 ? { title } : { title, categories: genres }
}

async function rank(
  learner: OfflineLearner,
  { train, test }: Split<Interaction>,
  options: EvaluateOptions & { readonly given: readonly GivenNegatives[] },
): Promise<Pick<EvaluateResult, 'metrics' | 'notFinite'>> {
  const { catalogue } = learner.facts
  const items = [...new Set([...train, ...test].map(({ itemId }) => itemId))].map((itemId) =>
    present(catalogue.byId(itemId), itemId),
  )
  const places = new Map(items.map(({ id }, place) => [id, place]))
  const trained = options.maskTrain ? placesByUser(train, places) : new Map<string, Set<number>>()
  const nothing: ReadonlySet<number> = new Set()
  const among = negativePlaces(options.given, places)
  const questions = test.map(({ userId, itemId }): Question => {
    const question = {
      target: places.get(itemId) ?? -1,
      masked: trained.get(userId) ?? nothing,
    }
    const against = among.get(userId)
    return against === undefined ? question : { ...question, among: against }
  })
  const vectors = {
    queries: await learner.queryVectors(test.map((held) => queryOf(learner, held))),
    candidates: await learner.itemVectors(items),
    dim: learner.outputDim,
    heads: learner.queryHeads,
  }
  const { ranks, coverage } = rankAll(vectors, questions, options.config.process.kernels)
  const ranked = ranks.map((place, i) => ({ userId: test[i].userId, rank: place }))
  const notFinite = ranks.filter(Number.isNaN).length
  return { metrics: offlineMetrics(ranked, coverage), notFinite }
}

/** The user as the training part left them, asking at the time of the held-out interaction. */
function queryOf(
  { facts }: OfflineLearner,
  { userId, timestamp, context }: Interaction,
): QueryInput {
  const handle = facts.users.handleOf(userId)
  const known = handle >= 0
  return {
    userId,
    userFeatures: known ? facts.users.features(handle) : {},
    history: known ? facts.users.history(handle) : [],
    context: context ?? {},
    timestamp,
  }
}

function placesByUser(
  interactions: readonly Interaction[],
  places: ReadonlyMap<string, number>,
): Map<string, Set<number>> {
  const byUser = new Map<string, Set<number>>()
  for (const { userId, itemId } of interactions) {
    const seen = byUser.get(userId) ?? new Set()
    byUser.set(userId, seen.add(places.get(itemId) ?? -1))
  }
  return byUser
}

/** Negatives that no file knows could not be ranked above anything: they are left out. */
const negativePlaces = (
  given: readonly GivenNegatives[],
  places: ReadonlyMap<string, number>,
): ReadonlyMap<string, readonly number[]> =>
  new Map(
    given.map(({ userId, negatives }) => [
      userId,
      negatives.flatMap((itemId) => places.get(itemId) ?? []),
    ]),
  )
