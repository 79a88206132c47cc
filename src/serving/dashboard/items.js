/** Items: find some, see what is near to one. */
import { byId, element } from './dom.js'
import { showItems, titleOf } from './items-list.js'
import { client } from './service.js'

const shown = 20

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
    if (this.#found.querySelector('button') === null) await this.#search()
  }

  async #search() {
    const field = this.#form.elements.namedItem('text')
    const text = field instanceof HTMLInputElement ? field.value.trim() : ''
    /** @type {import('./items-list.js').ShownItem[]} */
    const items = []
    for await (const item of client().items(text === '' ? {} : { search: text })) {
      if (items.push(item) === shown) break
    }
    showItems(this.#found, items, {
      onPick: (item) => this.#attempt(() => this.#showSimilar(item)),
      hint: 'what is near to it?',
      none: text === '' ? 'there are no items yet' : 'no item has this in its id or title',
    })
    if (items.length > 0) await this.#showSimilar(items[0])
  }

  /** @param {import('./items-list.js').ShownItem} item */
  async #showSimilar(item) {
    const answer = await client().similar(item.id, { n: shown })
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
