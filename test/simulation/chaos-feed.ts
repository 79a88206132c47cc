/**
 * What the crash test feeds to the service: clicks of the simulated shop, new items, changes and
 * deletions, each with an id of its own. A request that got no answer is sent again, word for word,
 * after the restart: what was in doubt must count once, what was acknowledged must be there.
 */
import { Shop } from '../../src/app/demo/shop.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'

export interface WireEvent {
  readonly eventId: string
  readonly kind: string
  readonly itemId?: string
  readonly userId?: string
  readonly [name: string]: unknown
}

export class ChaosFeed {
  readonly #shop: Shop
  readonly #random: Random
  readonly #seed: number
  readonly #queue: (readonly WireEvent[])[] = []
  #made = 0
  /** Items that nobody clicks: those that are there, and how many there have been. */
  readonly #described: string[] = []
  #passed = 0
  /** Ids of events that the service has acknowledged. */
  readonly acknowledged = new Set<string>()

  constructor(seed: number) {
    this.#seed = seed
    this.#shop = new Shop({ seed, users: 60, items: 200 })
    this.#random = seededRandom(seed, 0xfeed)
    const items = this.#shop.catalogue.map((item) => this.#named(toItem(item)))
    for (let from = 0; from < items.length; from += 50) {
      this.#queue.push(items.slice(from, from + 50))
    }
  }

  /** Requests that must be sent again, and those of the first catalogue not sent yet. */
  get inDoubt(): number {
    return this.#queue.length
  }

  /** The next request, or the one that got no answer. */
  next(): readonly WireEvent[] {
    return this.#queue.shift() ?? this.#batch()
  }

  /** The answer came: every event of the request is durable. */
  answered(batch: readonly WireEvent[]): void {
    for (const { eventId } of batch) this.acknowledged.add(eventId)
  }

  /** No answer came: nobody knows. */
  unanswered(batch: readonly WireEvent[]): void {
    this.#queue.push(batch)
  }

  #batch(): readonly WireEvent[] {
    return Array.from({ length: 1 + this.#random.integer(40) }, () => this.#event())
  }

  #event(): WireEvent {
    const draw = this.#random.next()
    if (draw < 0.004) {
      return this.#named(this.#passing())
    }
    if (draw < 0.006) {
      return this.#named({ kind: 'deleteUser', userId: `user-${1 + this.#random.integer(60)}` })
    }
    const event = this.#shop.next()
    if (event.kind === 'item') return this.#named(toItem(event))
    const { userId, itemId, type, device } = event
    return this.#named({ kind: 'interaction', userId, itemId, type, context: { device } })
  }

  /**
   * An item that nobody clicks comes, and goes after a while. Whether a click on one that is gone
   * counts depends on the turns of partitions, and here all that is counted is compared.
   */
  #passing(): Omit<WireEvent, 'eventId'> {
    const itemId = this.#described.length > 2 ? this.#described.shift() : undefined
    if (itemId !== undefined) return { kind: 'deleteItem', itemId }
    this.#passed += 1
    const passing = `passing-${this.#passed}`
    this.#described.push(passing)
    const [like] = this.#shop.catalogue
    return { ...toItem(like), itemId: passing }
  }

  #named(event: Omit<WireEvent, 'eventId'>): WireEvent {
    this.#made += 1
    return { eventId: `${this.#seed}-${this.#made}`, kind: '', ...event }
  }
}

const toItem = ({ itemId, title, categories }: ReturnType<Shop['catalogue']['at']> & object) => ({
  kind: 'item',
  itemId,
  features: { title, categories },
})
