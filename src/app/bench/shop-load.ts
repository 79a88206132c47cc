/**
 * The load of `bench http` and `bench freshness`: a service with a full catalogue, and its
 * traffic.
 */
import type { Clock } from '../../base/clock.ts'
import { type Random, seededRandom } from '../../base/random.ts'
import { ServiceClient } from '../service-client.ts'
import { ChildService } from './child-service.ts'

export interface LoadOptions {
  readonly items: number
  readonly users: number
  readonly seed: number
  /** Interactions sent before measuring, so that tables, histories and popularity are not empty. */
  readonly warmupEvents: number
  /** Flags passed to `freshet start`. */
  readonly flags: readonly string[]
  readonly clock: Clock
  readonly progress: (line: string) => void
}

const chunk = 1_000
const readyLimitMs = 300_000
const words = ['red', 'blue', 'small', 'large', 'old', 'new', 'soft', 'hard', 'round', 'flat']
const things = ['lamp', 'chair', 'tent', 'kettle', 'knife', 'shoe', 'clock', 'book', 'drum', 'rug']
const devices = ['phone', 'desktop', 'tablet']

/** Items and users are drawn with a heavy head, as in life: density ~ 1 / rank. */
const skewed = (random: Random, below: number): number =>
  Math.min(below - 1, Math.floor(below ** random.next()) - 1 + random.integer(2))

export class LoadedService {
  readonly service: ChildService
  readonly client: ServiceClient
  readonly #options: LoadOptions
  readonly #random: Random

  private constructor(service: ChildService, options: LoadOptions) {
    this.service = service
    this.client = new ServiceClient(service.address)
    this.#options = options
    this.#random = seededRandom(options.seed)
  }

  /** Starts it, fills it, and waits until everything is learned and indexed. */
  static async start(options: LoadOptions): Promise<LoadedService> {
    const service = await ChildService.start({ flags: options.flags })
    const loaded = new LoadedService(service, options)
    try {
      await loaded.#fill()
      return loaded
    } catch (error) {
      await service.stop()
      throw error
    }
  }

  /** One user's click, as the body of an event. */
  event(): object {
    const random = this.#random
    const userId = `user-${skewed(random, this.#options.users)}`
    const itemId = `item-${skewed(random, this.#options.items)}`
    const context = { device: devices[random.integer(devices.length)] }
    return { kind: 'interaction', userId, itemId, type: 'click', context }
  }

  /** Some user, the busy ones more often. */
  userId(): string {
    return `user-${skewed(this.#random, this.#options.users)}`
  }

  async #fill(): Promise<void> {
    const { items, warmupEvents, progress } = this.#options
    await this.client.waitUntilReady(readyLimitMs)
    progress(`${items} items`)
    for (let from = 0; from < items; from += chunk) {
      const count = Math.min(chunk, items - from)
      await this.client.sendItems(Array.from({ length: count }, (_, i) => this.#item(from + i)))
    }
    progress(`${warmupEvents} events to warm up`)
    for (let sent = 0; sent < warmupEvents; sent += chunk) {
      const count = Math.min(chunk, warmupEvents - sent)
      await this.client.sendEvents(Array.from({ length: count }, () => this.event()))
    }
    await this.#settled()
  }

  #item(number: number): object {
    const random = this.#random
    const style = words[random.integer(words.length)]
    const thing = things[random.integer(things.length)]
    const title = `${style} ${thing} no. ${number}`
    return { id: `item-${number}`, features: { title, categories: [thing, style] } }
  }

  /** Waits until the trainer has learned everything and the index has every item. */
  async #settled(): Promise<void> {
    const { clock, items, progress } = this.#options
    const giveUpAt = clock.monotonic() + readyLimitMs
    for (;;) {
      const metrics = await this.client.metrics()
      const lag =
        metrics.sum('freshet_trainer_lag_events') + metrics.sum('freshet_facts_lag_events')
      const indexed = metrics.sum('freshet_index_size_items')
      if (lag === 0 && indexed >= items) return
      if (clock.monotonic() > giveUpAt) {
        progress(`not settled: ${lag} events behind, ${indexed} items indexed; going on`)
        return
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
