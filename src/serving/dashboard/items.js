/** Items: find some, see what is near to one. */
import { ask } from './api.js'
import { byId, element } from './dom.js'
import { showItems, titleOf } from './items-list.js'

const shown = 20
/** Pages that are asked for one search: empty ones go on. */
const pagesPerSearch = 50

export class Items {
  #form = byId('search', HTMLFormElement)
  #found = byId('found', HTMLOListElement)
  #similar = byId('similar', HTMLOListElement)
  #attempt

  /** @param {(work: () => Promise<void>) => void} attempt */
  constructor(attempt) {
    this.#attempt = attempt
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      attempt(() => this.#search())
    })
  }

  async open() {
    if (this.#found.childElementCount === 0) await this.#search()
  }

  async #search() {
    const field = this.#form.elements.namedItem('text')
    const text = field instanceof HTMLInputElement ? field.value.trim() : ''
    const asked = text === '' ? '' : `&search=${encodeURIComponent(text)}`
    /** @type {any[]} */
    const items = []
    let cursor = ''
    for (let page = 0; page < pagesPerSearch && items.length < shown; page += 1) {
      const answer = await ask(`/v1/items?limit=${shown - items.length}${asked}${cursor}`)
      items.push(...answer.items)
      if (answer.next === undefined) break
      cursor = `&cursor=${encodeURIComponent(answer.next)}`
    }
    showItems(this.#found, items, {
      onPick: (item) => this.#attempt(() => this.#showSimilar(item)),
      hint: 'what is near to it?',
      none: 'no item has this in its id or title',
    })
    if (items.length > 0) await this.#showSimilar(items[0])
  }

  /** @param {import('./items-list.js').ShownItem} item */
  async #showSimilar(item) {
    const answer = await ask(`/v1/items/${encodeURIComponent(item.id)}/similar?n=${shown}`)
    byId('similar-title', HTMLElement).replaceChildren(
      'Similar to ',
      element('em', {}, titleOf(item)),
    )
    showItems(this.#similar, answer.items, {
      onPick: (next) => this.#attempt(() => this.#showSimilar(next)),
      hint: 'what is near to it?',
      none: 'nothing else',
    })
  }
}
