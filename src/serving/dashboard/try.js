/** Try it: one user's list, and how soon it changes after a click. */
import { byId, element, when } from './dom.js'
import { showItems } from './items-list.js'
import { client } from './service.js'

const shown = 12

export class TryIt {
  #form = byId('asker', HTMLFormElement)
  #users = byId('users', HTMLDataListElement)
  #recommended = byId('recommended', HTMLOListElement)
  #had = byId('history', HTMLOListElement)
  #changed = byId('changed', HTMLElement)
  /** Ids as last shown, and of whom. */
  #before = { user: '', ids: /** @type {string[]} */ ([]) }

  /** @param {(work: () => Promise<void>) => void} attempt Runs, and shows what goes wrong. */
  constructor(attempt) {
    this.attempt = attempt
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      attempt(() => this.#show())
    })
    this.#form.addEventListener('change', ({ target }) => {
      const isExplain = target instanceof HTMLInputElement && target.name === 'explain'
      if (isExplain && this.#user !== '') attempt(() => this.#show())
    })
    byId('stranger', HTMLButtonElement).addEventListener('click', () => {
      this.#field.value = `guest-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`
      attempt(() => this.#show())
    })
  }

  /** Fills the list of users; shows one if none has been chosen. */
  async open() {
    const users = await client().recentUsers(50)
    this.#users.replaceChildren(...users.map(({ id }) => element('option', { value: id })))
    if (this.#user !== '') return
    if (users.length === 0) {
      this.#changed.textContent = 'nobody has done anything yet: send events, or be somebody new'
      return
    }
    this.#field.value = users[0].id
    await this.#show()
  }

  get #field() {
    const field = this.#form.elements.namedItem('user')
    if (!(field instanceof HTMLInputElement)) throw new Error('the form has no user')
    return field
  }

  get #user() {
    return this.#field.value.trim()
  }

  get #explains() {
    const field = this.#form.elements.namedItem('explain')
    return field instanceof HTMLInputElement && field.checked
  }

  async #show() {
    this.#changed.textContent = ''
    const answer = await this.#recommend()
    this.#showRecommended(answer)
    // To ask for what a stranger had is a 404, which a browser's console has as an error.
    if (answer.fallback === 'popularity') this.#showHad([])
    else await this.#showHistory()
  }

  /** @param {string} [offset] Of an event whose effect shall be in the answer. */
  #recommend(offset) {
    const after = offset === undefined ? {} : { minSequence: offset }
    return client().recommend({ userId: this.#user, n: shown, explain: this.#explains, ...after })
  }

  /** @param {import('../../client/types.js').Answer} answer */
  #showRecommended({ items, fallback }) {
    const before = this.#before.user === this.#user ? new Set(this.#before.ids) : undefined
    showItems(this.#recommended, items, {
      onPick: (item) => this.attempt(() => this.#click(item)),
      hint: 'click: the user takes it',
      none: 'nothing to recommend',
      ...(before === undefined ? {} : { before }),
    })
    this.#before = { user: this.#user, ids: items.map(({ id }) => id) }
    if (fallback !== undefined) {
      this.#changed.textContent = `nobody knows this user: chosen by ${fallback}`
    }
  }

  async #showHistory() {
    const { history = [] } = (await client().user(this.#user)) ?? {}
    const items = await Promise.all(
      history.slice(0, shown).map(async ({ itemId, type, timestamp }) => {
        const note = `${type}, ${when(timestamp)}`
        const { features, attributes } = (await client().item(itemId)) ?? {}
        return { id: itemId, features, attributes, note }
      }),
    )
    this.#showHad(items)
  }

  /** @param {import('./items-list.js').ShownItem[]} items */
  #showHad(items) {
    showItems(this.#had, items, {
      onPick: () => {},
      hint: 'the user had it',
      none: 'nothing yet',
    })
  }

  /** @param {{id: string}} item */
  async #click({ id }) {
    const startedAt = performance.now()
    const event = { userId: this.#user, itemId: id, type: 'click' }
    const { offset } = await client().sendEvents([event])
    const durableMs = performance.now() - startedAt
    const before = this.#before.ids
    const answer = await this.#recommend(offset)
    const totalMs = performance.now() - startedAt
    this.#showRecommended(answer)
    const stayed = new Set(before)
    const fresh = answer.items.filter((one) => !stayed.has(one.id))
    this.#changed.textContent =
      `${totalMs.toFixed(0)} ms after the click the list has ${fresh.length} new ` +
      `(the event was durable after ${durableMs.toFixed(0)} ms)`
    await this.#showHistory()
  }
}
