/** The form that takes rows and weights back to a checkpoint. */
import { byId, element, when } from './dom.js'
import { admin, FreshetError } from './service.js'

/** @typedef {import('../../client/types.js').Checkpoint} Checkpoint */

export class RollBack {
  #form = byId('to-checkpoint', HTMLFormElement)
  #choice = byId('checkpoint', HTMLSelectElement)
  /** Names as last shown. */
  #names = ''

  /** @param {(to: number) => void} go */
  constructor(go) {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      const [{ label }] = this.#choice.selectedOptions
      if (confirm(`Rows and weights back to ${label}? What was learned since is lost.`)) {
        go(Number(this.#choice.value))
      }
    })
  }

  /** Shows what can be gone back to; nothing, where the process has no checkpoints. */
  async open() {
    const checkpoints = await admin().checkpoints().catch(noneHere)
    this.#form.hidden = checkpoints.length === 0
    const names = checkpoints.map(({ name }) => name).join(' ')
    if (names === this.#names) return
    this.#names = names
    const chosen = this.#choice.value
    this.#choice.replaceChildren(...checkpoints.map(optionOf))
    if (checkpoints.some(({ name }) => name === chosen)) this.#choice.value = chosen
  }
}

/** @param {Checkpoint} checkpoint */
const optionOf = ({ name, createdAt }) =>
  element('option', { value: name }, `${name}, of ${when(createdAt)}`)

/**
 * @param {unknown} cause
 * @returns {readonly Checkpoint[]}
 */
function noneHere(cause) {
  if (cause instanceof FreshetError && cause.status === 404) return []
  throw cause
}
