/** Jobs: run one, see how they went. */
import { ask } from './api.js'
import { byId, element } from './dom.js'

/** Jobs that need a payload are run by their own commands. */
const withPayload = new Set(['dropUser', 'rollBack'])

const shown = 25

export class Jobs {
  #buttons = byId('job-buttons', HTMLElement)
  #runs = byId('runs', HTMLTableElement)
  #attempt

  /** @param {(work: () => Promise<void>) => void} attempt */
  constructor(attempt) {
    this.#attempt = attempt
  }

  async open() {
    const { names, runs } = await ask('/v1/admin/jobs')
    this.#showButtons(names)
    this.#showRuns(runs)
  }

  /** @param {string[]} names */
  #showButtons(names) {
    if (this.#buttons.childElementCount > 0) return
    const buttons = names
      .filter((name) => !withPayload.has(name))
      .map((name) => {
        const button = element('button', { type: 'button', 'data-job': name }, name)
        button.addEventListener('click', () => this.#attempt(() => this.#run(name)))
        return button
      })
    this.#buttons.replaceChildren(...buttons)
  }

  /** @param {string} name */
  async #run(name) {
    await ask('/v1/admin/jobs', { name, wait: false })
    await this.open()
  }

  /** @param {any[]} runs */
  #showRuns(runs) {
    const head = element(
      'tr',
      {},
      ...['job', 'state', 'began', 'took', 'result'].map((name) =>
        element('th', { scope: 'col' }, name),
      ),
    )
    const rows = runs
      .slice(0, shown)
      .map((run) =>
        element(
          'tr',
          {},
          element('td', {}, run.name),
          element('td', { class: run.state === 'failed' ? 'failed' : undefined }, stateOf(run)),
          element('td', {}, new Date(run.startedAt).toLocaleTimeString()),
          element(
            'td',
            {},
            run.finishedAt === undefined ? '' : `${run.finishedAt - run.startedAt} ms`,
          ),
          element('td', {}, element('small', {}, outcomeOf(run))),
        ),
      )
    this.#runs.replaceChildren(head, ...rows)
  }
}

/** @param {any} run */
function stateOf({ state, progress }) {
  if (state === 'done' || state === 'failed') return state
  return element('progress', { value: progress, max: 1, 'aria-label': state }, state)
}

/** @param {any} run */
function outcomeOf({ result, error }) {
  const text = error ?? (result === undefined ? '' : JSON.stringify(result))
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
