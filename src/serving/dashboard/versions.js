/** Versions of the model side by side: how good they are, who answers, and what came of it. */
import { byId, element, short, when } from './dom.js'
import { admin, FreshetError } from './service.js'

const columns = [
  'version',
  'state',
  'traffic',
  'HR@10',
  'NDCG@10',
  'behind',
  'alike',
  'answers',
  'CTR',
  'hit rate',
  '',
]

/**
 * A row stays as long as its version does, so that nothing is taken from under a finger.
 *
 * @typedef {{
 *   row: HTMLElement
 *   cells: Record<string, HTMLElement>
 *   percent: HTMLInputElement
 *   promote: HTMLElement
 *   remove: HTMLElement
 * }} Row
 */

export class Versions {
  #table = byId('versions-table', HTMLTableElement)
  #rollBack = byId('roll-back', HTMLButtonElement)
  #note = byId('versions-note', HTMLElement)
  /** @type {Map<string, Row>} */
  #rows = new Map()
  #attempt

  /** @param {(work: () => Promise<void>) => void} attempt */
  constructor(attempt) {
    this.#attempt = attempt
    this.#rollBack.addEventListener('click', () =>
      attempt(() => this.#change('POST', 'versions/rollback')),
    )
    const head = columns.map((name) => element('th', { scope: 'col' }, name))
    this.#table.append(element('tr', {}, ...head))
  }

  async open() {
    try {
      const [view, experiment] = await Promise.all([
        admin().ask('GET', 'versions'),
        admin().ask('GET', 'experiment').catch(none),
      ])
      this.#show(view, experiment)
    } catch (cause) {
      if (!(cause instanceof FreshetError) || cause.status !== 404) throw cause
      this.#note.textContent = 'This process has one version of the model, and no other beside it.'
    }
  }

  /**
   * @param {any} view
   * @param {any} experiment
   */
  #show({ versions, previous, max }, experiment) {
    const names = new Set(versions.map((/** @type {any} */ { name }) => name))
    for (const [name, { row }] of this.#rows) {
      if (names.has(name)) continue
      row.remove()
      this.#rows.delete(name)
    }
    for (const version of versions) {
      const counts = experiment.versions.find(
        (/** @type {any} */ one) => one.version === version.name,
      )
      this.#update(this.#rowOf(version.name), version, counts)
    }
    this.#rollBack.hidden = previous === undefined
    this.#rollBack.textContent = `Roll back to ${previous}`
    this.#note.textContent =
      versions.length > 1
        ? experimentText(experiment)
        : `One version of at most ${max}: freshet versions add trains another one beside it.`
  }

  /** @param {string} name */
  #rowOf(name) {
    const known = this.#rows.get(name)
    if (known !== undefined) return known
    /** @type {Record<string, HTMLElement>} */
    const cells = Object.fromEntries(columns.map((column) => [column, element('td')]))
    cells['version'].textContent = name
    const percent = document.createElement('input')
    Object.assign(percent, { type: 'number', min: '0', max: '100', step: 'any' })
    percent.setAttribute('aria-label', `percent of the users for ${name}`)
    const path = `versions/${encodeURIComponent(name)}`
    percent.addEventListener('change', () =>
      this.#attempt(() => this.#change('PATCH', path, { percent: Number(percent.value) })),
    )
    cells['traffic'].append(percent, ' %')
    const promote = element('button', { type: 'button', 'data-promote': name }, 'promote')
    promote.addEventListener('click', () =>
      this.#attempt(() => this.#change('POST', `${path}/promote`)),
    )
    const remove = element('button', { type: 'button', 'data-remove': name }, 'remove')
    remove.addEventListener('click', () => {
      if (!confirm(`Remove ${name} with all that it has learned?`)) return
      this.#attempt(() => this.#change('DELETE', path))
    })
    cells[''].append(promote, ' ', remove)
    const row = element('tr', { 'data-version': name }, ...columns.map((column) => cells[column]))
    const made = { row, cells, percent, promote, remove }
    this.#rows.set(name, made)
    this.#table.append(row)
    return made
  }

  /**
   * @param {Row} row
   * @param {any} version
   * @param {any} counts
   */
  #update(row, version, counts) {
    const { cells, percent, promote, remove } = row
    const { state, missing = '', evaluation, overlap } = version
    const isPrimary = version.role === 'primary'
    showState(cells, version)
    // Not while somebody types.
    if (document.activeElement !== percent) percent.value = String(version.percent)
    percent.disabled = isPrimary || state !== 'ready'
    promote.hidden = isPrimary
    remove.hidden = isPrimary
    promote.toggleAttribute('disabled', missing !== '')
    cells['HR@10'].textContent = measure(evaluation?.model, 'hr10')
    cells['HR@10'].title = `counting alone: ${measure(evaluation?.recentlyPopular, 'hr10')}`
    cells['NDCG@10'].textContent = measure(evaluation?.model, 'ndcg10')
    cells['alike'].textContent = isPrimary ? '' : number(overlap?.mean)
    cells['answers'].textContent = counts === undefined ? '' : short(counts.answers)
    cells['CTR'].replaceChildren(...rateOf(counts?.ctr, counts?.answers))
    cells['hit rate'].replaceChildren(...rateOf(counts?.hitRate, counts?.interactions))
  }

  /**
   * @param {'POST' | 'PATCH' | 'DELETE'} method
   * @param {string} path
   * @param {object} [body]
   */
  async #change(method, path, body) {
    await admin().ask(method, path, body)
    await this.open()
  }
}

/**
 * @param {Record<string, HTMLElement>} cells
 * @param {any} version
 */
function showState(cells, { role, state, missing = '', differs, training }) {
  const difference = differs.length > 0 ? `differs in ${differs.join(', ')}` : ''
  cells['version'].title = difference
  cells['state'].textContent = role === 'primary' ? 'answers' : state
  cells['state'].className = state === 'failed' ? 'failed' : ''
  cells['state'].title = missing
  cells['behind'].textContent = training === undefined ? '' : `${short(training.lagEvents)} events`
}

const none = () => ({ versions: [], since: 0, recording: false })

/** Counts are older than this only where nobody counts. */
const lateMs = 60_000

/** @param {any} experiment */
function experimentText({ recording, since, windowMs, countedAt, dropped }) {
  if (!recording || since === 0) return 'What comes of the answers is not recorded.'
  const minutes = short(windowMs / 60_000)
  const begin = when(since)
  const isLate = countedAt < Date.now() - lateMs
  return [
    `Counted since ${begin}: what a user takes within ${minutes} minutes of an answer.`,
    isLate ? `Nobody counts since ${when(countedAt)}: is a trainer running?` : '',
    dropped > 0 ? `${short(dropped)} answers could not be recorded.` : '',
  ]
    .filter(Boolean)
    .join(' ')
}

/**
 * Nothing where nothing has been ranked yet.
 *
 * @param {any} ranking
 * @param {'hr10' | 'ndcg10'} name
 */
const measure = (ranking, name) => (ranking?.evaluated > 0 ? number(ranking[name]) : '')

/** @param {number | undefined} value */
const number = (value) => (value === undefined ? '' : value.toFixed(3))

/**
 * A share, and the interval that has the true one with a probability of 95 %.
 *
 * @param {{ value: number; low: number; high: number } | undefined} rate
 * @param {number | undefined} of
 */
function rateOf(rate, of = 0) {
  if (rate === undefined || of === 0) return []
  const [value, low, high] = [rate.value, rate.low, rate.high].map((x) => (100 * x).toFixed(1))
  return [`${value} % `, element('small', {}, `${low}–${high}`)]
}
