/**
 * The newest examples that were trained on, some of which are trained on once more beside every
 * batch (experience replay: Lin 1992). Which, is drawn by the number of the batch, uniformly, so
 * that a restart draws the same.
 *
 * What is kept is what was true of the event: who, what, when, in which context, after which items.
 * All that is a fact is asked of the facts when the example is drawn: features as they are now,
 * what the user has seen since; items that are gone are left out, users that are gone have been
 * forgotten. So nothing that was deleted comes back, and a saved reservoir draws as one that was
 * not.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { Features } from '../base/features.ts'
import { seededRandom } from '../base/random.ts'
import type { ModelSpec } from '../model/spec.ts'
import type { Example, HistoryItem } from '../stream/example.ts'
import type { Eviction, Facts } from '../stream/facts/facts.ts'
import { readFeatures, writeFields } from '../stream/value-codec.ts'
import type { CheckpointPart } from './checkpoint/checkpoint.ts'

export interface ReplayOptions {
  /** Drawn for each batch, at most. */
  readonly examples: number
  /** The newest, so many of them, are drawn from. */
  readonly reservoirExamples: number
}

interface Remembered {
  /** The user's handle. */
  readonly user: number
  readonly userId: string
  readonly itemId: string
  readonly type: string
  readonly weight: number
  /** Epoch ms. */
  readonly timestamp: number
  readonly context: Features
  readonly history: readonly Past[]
}

interface Past {
  readonly itemId: string
  readonly timestamp: number
  readonly type: string
}

/** Name of its part of a checkpoint. */
export const reservoirPart = 'reservoir'

/** Tells its draws from those of negatives, which the same step seeds. */
const drawSeed = 0x7265706c

/** Invariant: every user in `#ring` is one that the facts know. Places fill from 0 on. */
export class Reservoir {
  readonly #options: ReplayOptions
  readonly #spec: Pick<ModelSpec, 'seed' | 'loss'>
  /** A place whose example was forgotten is empty until its turn comes again. */
  #ring: (Remembered | undefined)[] = []
  #next = 0

  constructor(options: ReplayOptions, spec: Pick<ModelSpec, 'seed' | 'loss'>) {
    this.#options = options
    this.#spec = spec
  }

  /** Places in use, those of the forgotten among them. */
  get size(): number {
    return this.#ring.length
  }

  /** After a batch: what has taught something may do so again, until its user is gone. */
  follow(examples: readonly Example[], removed: readonly Eviction[]): void {
    for (const example of examples) this.#remember(example)
    const users = removed.filter(({ of, handle }) => of === 'user' && handle >= 0)
    if (users.length > 0) this.#forget(new Set(users.map(({ handle }) => handle)))
  }

  #remember({ query, item, user, type, weight, isRepeat }: Example): void {
    if (isRepeat && this.#spec.loss.maskSeen) return
    const { userId, timestamp, context } = query
    const history = query.history.map((past) => ({
      itemId: past.item.id,
      timestamp: past.timestamp,
      type: past.type,
    }))
    this.#put({ user, userId, itemId: item.id, type, weight, timestamp, context, history })
  }

  /** By handle, before these are given away. */
  #forget(users: ReadonlySet<number>): void {
    for (let place = 0; place < this.#ring.length; place += 1) {
      const one = this.#ring[place]
      if (one !== undefined && users.has(one.user)) this.#ring[place] = undefined
    }
  }

  /** What came after a checkpoint may be what broke the model since. */
  clear(): void {
    this.#ring = []
    this.#next = 0
  }

  /** For the batch of this step; fewer where places are empty, drawn twice, or of items gone. */
  draw(facts: Facts, step: number): readonly Example[] {
    const { length } = this.#ring
    if (length === 0) return []
    const random = seededRandom(this.#spec.seed, step, drawSeed)
    const places = new Set<number>()
    for (let i = 0; i < this.#options.examples; i += 1) places.add(random.integer(length))
    return Array.from(places).flatMap((place) => {
      const one = this.#ring[place]
      return one === undefined ? [] : (exampleOf(one, facts) ?? [])
    })
  }

  /** Of a checkpoint. */
  parts(): readonly CheckpointPart[] {
    const writer = new ByteWriter(1 << 16)
    writer.varint(this.#ring.length).varint(this.#next)
    for (const one of this.#ring) {
      writer.uint8(one === undefined ? 0 : 1)
      if (one !== undefined) write(writer, one)
    }
    return [{ name: reservoirPart, chunks: [writer.finish()] }]
  }

  /** Of one with another number of places what fits, the newest. */
  load(bytes: Uint8Array): void {
    const reader = new ByteReader(bytes)
    const [length, next] = [reader.varint(), reader.varint()]
    const saved = Array.from({ length }, () => (reader.uint8() === 0 ? undefined : read(reader)))
    const { reservoirExamples: limit } = this.#options
    this.clear()
    if (length === limit || (length < limit && next === length)) {
      this.#ring = saved
      this.#next = next % limit
      return
    }
    const oldestFirst = [...saved.slice(next), ...saved.slice(0, next)]
    for (const one of oldestFirst.slice(-limit)) this.#put(one)
  }

  #put(one: Remembered | undefined): void {
    this.#ring[this.#next] = one
    this.#next = (this.#next + 1) % this.#options.reservoirExamples
  }
}

/** The example as it would be told now; undefined: its item or its user is gone. */
function exampleOf(one: Remembered, { users, catalogue, time }: Facts): Example | undefined {
  const item = catalogue.byId(one.itemId)
  if (item === undefined || users.handleOf(one.userId) !== one.user) return undefined
  const { user, userId, timestamp, context, type, weight } = one
  const history = one.history.flatMap(({ itemId, ...past }): HistoryItem[] => {
    const known = catalogue.byId(itemId)
    return known === undefined ? [] : [{ item: known, ...past }]
  })
  return {
    index: -1,
    query: { userId, userFeatures: users.features(user), history, context, timestamp },
    item,
    user,
    seen: users.seen(user),
    type,
    weight,
    isNewItem: false,
    itemInteractions: catalogue.interactions(item.handle),
    itemPopularity: catalogue.decayedCount(item.handle, time),
    isRepeat: false,
    isNewUser: false,
    acceptedAt: 0,
  }
}

function write(writer: ByteWriter, one: Remembered): void {
  writer.varint(one.user).string(one.userId).string(one.itemId).string(one.type)
  writer.float64(one.weight).float64(one.timestamp)
  writeFields(writer, one.context)
  writer.varint(one.history.length)
  for (const { itemId, timestamp, type } of one.history) {
    writer.string(itemId).float64(timestamp).string(type)
  }
}

function read(reader: ByteReader): Remembered {
  const [user, userId, itemId] = [reader.varint(), reader.string(), reader.string()]
  const type = reader.string()
  const [weight, timestamp] = [reader.float64(), reader.float64()]
  const context = readFeatures(reader)
  const history = Array.from({ length: reader.varint() }, () => ({
    itemId: reader.string(),
    timestamp: reader.float64(),
    type: reader.string(),
  }))
  return { user, userId, itemId, type, weight, timestamp, context, history }
}
