/**
 * A simulated shop with planted tastes, so that it is known what there is to learn. Pure: the same
 * seed and the same calls give the same shop.
 *
 * Items lie in *niches*: a category (what it is) and a style (how it is), both readable in the
 * title. A user likes a few niches and drifts: now and then one is exchanged for another. A visit
 * stays in one niche for some clicks, so that what a user had last says most about what comes
 * next, which only a model that follows every click can use. New items and users arrive all the
 * time, and waves of popularity lift single items for a while and then pass.
 */
import { assert } from '../../base/assert.ts'
import { type Random, seededRandom } from '../../base/random.ts'
import { categories, makers, styles } from './words.ts'

export interface ShopOptions {
  readonly seed: number
  /** Users and items at the start. */
  readonly users: number
  readonly items: number
  /** How often it is asked what happens next: waves come and go by the clock. Default 400. */
  readonly eventsPerSecond?: number
}

export interface ShopItem {
  readonly kind: 'item'
  readonly itemId: string
  readonly title: string
  readonly categories: readonly string[]
  readonly price: number
}

export interface ShopInteraction {
  readonly kind: 'interaction'
  readonly userId: string
  readonly itemId: string
  readonly type: 'click' | 'cart' | 'purchase'
  readonly device: string
}

export type ShopEvent = ShopItem | ShopInteraction

interface Item {
  readonly itemId: string
  readonly title: string
  readonly niche: number
  /** How well it does within its niche, before any wave. */
  readonly appeal: number
}

interface User {
  readonly userId: string
  readonly device: string
  /** Niches in order of liking. */
  readonly likes: number[]
  /** Where the current visit is, and how many clicks it still has. */
  niche: number
  clicksLeft: number
  /** Item numbers had lately: not clicked again. Bounded. */
  readonly had: Set<number>
}

/** A lift of one item that halves every `waveHalfLifeSeconds`. */
interface Wave {
  readonly item: number
  readonly startedAt: number
}

const nicheCount = categories.length * styles.length
const devices = ['phone', 'phone', 'phone', 'desktop', 'desktop', 'tablet'] as const
const likesPerUser = 4
const hadPerUser = 60
const newItemShare = 0.004
const newUserShare = 0.002
const driftShare = 0.004
const wavesPerSecond = 0.8
const wavesAtOnce = 6
const waveHalfLifeSeconds = 10
const waveClickShare = 0.12

export class Shop {
  readonly #random: Random
  readonly #items: Item[] = []
  readonly #byNiche: number[][] = Array.from({ length: nicheCount }, () => [])
  readonly #users: User[] = []
  readonly #waves: Wave[] = []
  readonly #catalogue: ShopItem[]
  readonly #waveShare: number
  readonly #waveHalfLife: number
  #events = 0

  constructor({ seed, users, items, eventsPerSecond = 400 }: ShopOptions) {
    assert(users > 0 && items > 0, 'a shop has users and items')
    this.#waveShare = wavesPerSecond / eventsPerSecond
    this.#waveHalfLife = waveHalfLifeSeconds * eventsPerSecond
    this.#random = seededRandom(seed, 0x5406)
    this.#catalogue = Array.from({ length: items }, () => this.#addItem())
    for (let i = 0; i < users; i += 1) this.#addUser()
  }

  /** What is on the shelves before the first event. */
  get catalogue(): readonly ShopItem[] {
    return this.#catalogue
  }

  /** What happens next. */
  next(): ShopEvent {
    this.#events += 1
    const draw = this.#random.next()
    if (draw < newItemShare) return this.#addItem()
    if (draw < newItemShare + newUserShare) return this.#visit(this.#addUser())
    return this.#visit(this.#pickUser())
  }

  /** The items that a user who has just clicked in this item's niche would look at next. */
  nicheOf(itemId: string): number | undefined {
    return this.#items.find((item) => item.itemId === itemId)?.niche
  }

  /** Any item of a niche, for telling a story. */
  itemIn(niche: number): { readonly itemId: string; readonly title: string } | undefined {
    return this.#items[this.#byNiche[niche % nicheCount][0] ?? -1]
  }

  #addItem(): ShopItem {
    const random = this.#random
    const niche = random.integer(nicheCount)
    const category = categories[niche % categories.length]
    const style = styles[Math.floor(niche / categories.length)]
    const number = this.#items.length
    const itemId = `item-${number + 1}`
    // A few do much better than the rest, as shops have it.
    const appeal = 1 / (0.15 + random.next())
    const noun = pick(category.nouns, random)
    const title = `${pick(style.words, random)} ${noun} ${pick(makers, random)}`
    this.#items.push({ itemId, title, niche, appeal })
    this.#byNiche[niche].push(number)
    return {
      kind: 'item',
      itemId,
      title,
      categories: [category.name, style.name],
      price: Math.round((5 + 195 * random.next() ** 2) * 100) / 100,
    }
  }

  #addUser(): User {
    const random = this.#random
    const likes = Array.from({ length: likesPerUser }, () => random.integer(nicheCount))
    const user: User = {
      userId: `user-${this.#users.length + 1}`,
      device: pick(devices, random),
      likes,
      niche: likes[0],
      clicksLeft: 0,
      had: new Set(),
    }
    this.#users.push(user)
    return user
  }

  /** The lower the number, the more often they come. */
  #pickUser(): User {
    return this.#users[Math.floor(this.#users.length * this.#random.next() ** 1.5)]
  }

  #visit(user: User): ShopInteraction {
    const random = this.#random
    if (random.next() < driftShare) {
      user.likes[random.integer(likesPerUser)] = random.integer(nicheCount)
    }
    if (user.clicksLeft === 0) {
      // The first niche is liked most: 1/2, 1/4, ...
      let rank = 0
      while (rank < likesPerUser - 1 && random.next() < 0.5) rank += 1
      user.niche = user.likes[rank]
      user.clicksLeft = 2 + random.integer(6)
    }
    user.clicksLeft -= 1
    const number = this.#waveItem() ?? this.#nicheItem(user)
    user.had.add(number)
    for (const oldest of user.had) {
      if (user.had.size <= hadPerUser) break
      user.had.delete(oldest)
    }
    const draw = random.next()
    const type = draw < 0.08 ? 'purchase' : draw < 0.16 ? 'cart' : 'click'
    const { itemId } = this.#items[number]
    return { kind: 'interaction', userId: user.userId, itemId, type, device: user.device }
  }

  /** An item of the user's present niche, the more appealing the likelier, none had lately. */
  #nicheItem(user: User): number {
    const fresh = this.#byNiche[user.niche].filter((number) => !user.had.has(number))
    // An exhausted niche: something else, and the visit is over.
    if (fresh.length === 0) {
      user.clicksLeft = 0
      return this.#random.integer(this.#items.length)
    }
    let left = this.#random.next() * fresh.reduce((sum, n) => sum + this.#items[n].appeal, 0)
    for (const number of fresh) {
      left -= this.#items[number].appeal
      if (left < 0) return number
    }
    return fresh[fresh.length - 1]
  }

  /** Now and then everybody looks at the same thing. */
  #waveItem(): number | undefined {
    const random = this.#random
    if (random.next() < this.#waveShare || this.#waves.length === 0) {
      this.#waves.unshift({ item: random.integer(this.#items.length), startedAt: this.#events })
      this.#waves.length = Math.min(this.#waves.length, wavesAtOnce)
    }
    if (random.next() >= waveClickShare) return undefined
    const wave = pick(this.#waves, random)
    const height = 2 ** ((wave.startedAt - this.#events) / this.#waveHalfLife)
    return random.next() < height ? wave.item : undefined
  }
}

const pick = <Member>(list: readonly Member[], random: Random): Member =>
  list[random.integer(list.length)]
