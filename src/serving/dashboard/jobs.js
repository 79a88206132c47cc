/** Jobs: run one, see how they went, call one off; and the way back to a checkpoint. */
import { byId, duration, element, when } from './dom.js'
import { RollBack } from './roll-back.js'
import { admin } from './service.js'

/** @typedef {import('../../client/types.js').JobRun} JobRun */

/** Jobs that need a payload have forms or commands of their own. */
const withPayload = new Set(['dropUser', 'rollBack'])

const shown = 25

const columns = ['job', 'state', 'began', 'took', 'result', '']

/**
 * A row stays as long as its run is shown, so that nothing is taken from under a finger.
 *
 * @typedef {{ row: HTMLElement, cells: HTMLElement[], looks: string }} Row
 */

export class Jobs {
  #buttons = byId('job-buttons', HTMLElement)
  #runs = byId('runs', HTMLTableSectionElement)
  #noRuns = byId('no-runs', HTMLElement)
  /** @type {Map<string, Row>} */
  #rows = new Map()
  #rollBack
  #attempt

  /** @param {(work: () => Promise<void>) => void} attempt */
  constructor(attempt) {
    this.#attempt = attempt
    this.#rollBack = new RollBack((to) => attempt(() => this.#run('rollBack', { to })))
    const head = columns.map((name) => element('th', { scope: 'col' }, name))
    byId('runs-head', HTMLTableSectionElement).append(element('tr', {}, ...head))
  }

  async open() {
    const { names, runs } = await admin().jobs(shown)
    this.#showButtons(names)
    this.#showRuns(runs)
    if (names.includes('rollBack')) await this.#rollBack.open()
  }

  /** @param {readonly string[]} names */
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

  /**
   * @param {string} name
   * @param {object} [payload]
   */
  async #run(name, payload = {}) {
    await admin().startJob({ name, payload, wait: false })
    await this.open()
  }

  /** @param {readonly JobRun[]} runs The newest first. */
  #showRuns(runs) {
    this.#noRuns.hidden = runs.length > 0
    const known = new Set(runs.map(({ id }) => id))
    for (const [id, { row }] of this.#rows) {
      if (known.has(id)) continue
      row.remove()
      this.#rows.delete(id)
    }
    // A row that is where it belongs is not moved: moving takes the focus away.
    for (const [at, run] of runs.entries()) {
      const row = this.#rowOf(run)
      const there = this.#runs.children[at] ?? null
      if (there !== row) this.#runs.insertBefore(row, there)
    }
  }

  /** @param {JobRun} run */
  #rowOf(run) {
    const made = this.#rows.get(run.id) ?? this.#makeRow(run)
    const looks = JSON.stringify([run.state, run.progress])
    if (made.looks === looks) return made.row
    made.looks = looks
    const [, state, , took, result, button] = made.cells
    state.classList.toggle('failed', isFailure(run))
    state.replaceChildren(stateOf(run))
    took.textContent = tookOf(run)
    result.replaceChildren(element('small', {}, outcomeOf(run)))
    if (run.state !== 'running') button.replaceChildren()
    return made.row
  }

  /** @param {JobRun} run */
  #makeRow({ id, name, state, startedAt }) {
    const cells = columns.map(() => element('td'))
    cells[0].textContent = name
    for (const at of [1, 2, 3]) cells[at].className = 'short'
    cells[2].textContent = when(startedAt)
    if (state === 'running') cells[5].append(this.#cancelButton(id, name))
    const row = element('tr', { 'data-run': id }, ...cells)
    const made = { row, cells, looks: '' }
    this.#rows.set(id, made)
    return made
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  #cancelButton(id, name) {
    const button = element('button', { type: 'button', 'aria-label': `cancel ${name}` }, 'cancel')
    const cancel = async () => {
      await admin().cancelJob(id)
      await this.open()
    }
    button.addEventListener('click', () => this.#attempt(cancel))
    return button
  }
}

/** @param {JobRun} run */
const isCancelled = ({ code }) => code === 'JOB_CANCELLED'

/** @param {JobRun} run */
const isFailure = (run) => run.state === 'failed' && !isCancelled(run)

/** @param {JobRun} run */
function stateOf(run) {
  const { state, progress } = run
  if (state === 'running') {
    return element('progress', { value: progress, max: 1, 'aria-label': state }, state)
  }
  return isCancelled(run) ? 'cancelled' : state
}

/** @param {JobRun} run */
const tookOf = ({ startedAt, finishedAt }) =>
  finishedAt === undefined ? '' : duration(finishedAt - startedAt)

/** @param {JobRun} run */
function outcomeOf(run) {
  if (isCancelled(run)) return ''
  const { result, error } = run
  const text = error ?? (result === undefined ? '' : JSON.stringify(result))
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
