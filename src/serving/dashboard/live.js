/** The first view: what the service does now, and how well. */
import { Chart } from './charts.js'
import { byId, duration, element, short, whole } from './dom.js'
import { History } from './history.js'

/** @typedef {import('./history.js').Status} Status */

const stages = ['fact', 'parameter', 'index']
const rankers = ['model', 'recentlyPopular', 'coVisitation']

export class Live {
  #history = new History()
  #tiles = byId('tiles', HTMLElement)
  #tables = byId('tables', HTMLTableElement)
  #rates
  #freshness
  #quality
  #recall
  #loss
  #rows
  /** Rows evicted from all tables together, as last seen. */
  #evicted = -1
  /** When restricts took rows, epoch seconds. @type {number[]} */
  #restricts = []

  constructor() {
    const parent = byId('charts', HTMLElement)
    this.#rates = new Chart(parent, {
      title: 'Per second',
      lines: [
        { label: 'events', color: '--accent' },
        { label: 'examples', color: '--fresh' },
      ],
    })
    this.#freshness = new Chart(parent, {
      title: 'Freshness, p99',
      lines: [
        { label: 'fact', color: '--fresh' },
        { label: 'parameter', color: '--accent' },
        { label: 'index', color: '--second' },
      ],
      log: true,
      format: duration,
    })
    this.#quality = new Chart(parent, {
      title: 'Next item among the ten best (HR@10)',
      lines: [
        { label: 'model', color: '--fresh' },
        { label: 'popular now', color: '--warn' },
        { label: 'co-visitation', color: '--second' },
      ],
      most: 1,
    })
    this.#recall = new Chart(parent, {
      title: 'Index against exact search, recall@10',
      lines: [{ label: 'recall', color: '--accent' }],
      most: 1,
    })
    this.#loss = new Chart(parent, {
      title: 'Loss',
      lines: [{ label: 'nats', color: '--second' }],
    })
    this.#rows = new Chart(parent, {
      title: 'Rows of all tables; marks: restricted',
      lines: [{ label: 'rows', color: '--accent' }],
    })
  }

  redraw() {
    for (const chart of this.#charts) chart.redraw()
  }

  get #charts() {
    return [this.#rates, this.#freshness, this.#quality, this.#recall, this.#loss, this.#rows]
  }

  /** A page that is not seen remembers, and draws nothing. @param {Status} status */
  remember(status) {
    this.#history.add(status)
    this.#markRestricts(status)
  }

  /** @param {Status} status */
  show(status) {
    this.remember(status)
    this.#showTiles(status)
    this.#showCharts()
    this.#showTables(status)
  }

  /** @param {Status} status */
  #markRestricts({ at, tables = [] }) {
    const evicted = sum(tables.map((/** @type {any} */ table) => table.evicted))
    if (this.#evicted >= 0 && evicted > this.#evicted) this.#restricts.push(at / 1000)
    this.#evicted = evicted
    const [first] = this.#history.all
    this.#restricts = this.#restricts.filter((mark) => mark * 1000 >= (first?.at ?? 0))
  }

  /** @param {Status} status */
  #showTiles(status) {
    const last = this.#history.all.length - 1
    const perSecond = (/** @type {(status: Status) => number | undefined} */ count) =>
      text(this.#history.rate(last, count), short)
    const { trainer, facts, index, alignment, evaluation = {} } = status
    const tiles = [
      tile('events/s', perSecond(eventsOf), `${whole(eventsOf(status))} in all`),
      tile('examples/s', perSecond(examplesOf), trainer && `${whole(trainer.steps)} steps`),
      ...stages.map((stage) => this.#freshnessTile(stage, last)),
      tile(
        'model HR@10',
        text(measured(evaluation.model), (value) => value.toFixed(3)),
        `popular now ${text(measured(evaluation.recentlyPopular), (value) => value.toFixed(3))}`,
      ),
      tile(
        'index recall@10',
        text(alignment?.recall10, (value) => value.toFixed(3)),
        index && `${whole(index.queued)} to embed, ${whole(index.versionSpread)} steps behind`,
      ),
      tile('items', text(facts?.items, whole), facts && `${whole(facts.users)} users`),
    ]
    this.#tiles.replaceChildren(...tiles)
  }

  /**
   * @param {string} stage
   * @param {number} last
   */
  #freshnessTile(stage, last) {
    const ms = (/** @type {number} */ q) => text(this.#history.quantile(last, stage, q), duration)
    return tile(`${stage} freshness`, ms(0.5), `p99 ${ms(0.99)}`)
  }

  #showCharts() {
    const { all } = this.#history
    const seconds = all.map(({ at }) => at / 1000)
    const line = (/** @type {(i: number) => number | null | undefined} */ of) =>
      all.map((_, i) => of(i) ?? null)
    this.#rates.show(seconds, [
      line((i) => this.#history.rate(i, eventsOf)),
      line((i) => this.#history.rate(i, examplesOf)),
    ])
    this.#freshness.show(
      seconds,
      stages.map((stage) => line((i) => this.#history.quantile(i, stage, 0.99))),
    )
    this.#quality.show(
      seconds,
      rankers.map((ranker) => line((i) => measured(all[i].evaluation?.[ranker]))),
    )
    this.#recall.show(seconds, [line((i) => all[i].alignment?.recall10)])
    this.#loss.show(seconds, [line((i) => lossOf(all[i]))])
    const rows = line(
      (i) => all[i].tables && sum(all[i].tables.map((/** @type {any} */ t) => t.rows)),
    )
    this.#rows.show(seconds, [rows], this.#restricts)
  }

  /** @param {Status} status */
  #showTables({ tables = [] }) {
    const head = element(
      'tr',
      {},
      ...['table', 'rows', 'of', 'filled', 'admitted', 'evicted', 'MB'].map((name, i) =>
        element('th', { scope: 'col', class: i === 0 || i === 3 ? undefined : 'number' }, name),
      ),
    )
    const rows = tables.map((/** @type {any} */ table) =>
      element(
        'tr',
        {},
        element('td', {}, table.name),
        number(table.rows),
        number(table.capacityRows),
        element('td', {}, meter(table.rows / Math.max(1, table.capacityRows), table.name)),
        number(table.admitted),
        number(table.evicted),
        element('td', { class: 'number' }, (table.bytes / 1e6).toFixed(1)),
      ),
    )
    this.#tables.replaceChildren(head, ...rows)
  }
}

const eventsOf = (/** @type {Status} */ status) => status.facts?.events ?? status.trainer?.events
const examplesOf = (/** @type {Status} */ status) => status.trainer?.examples

/** A ranking without examples says nothing. @param {any} ranking */
const measured = (ranking) => (ranking?.evaluated > 0 ? ranking.hr10 : undefined)

/** Before the first step there is none. @param {Status} status */
const lossOf = ({ trainer }) => (trainer?.steps > 0 ? trainer.loss : undefined)

const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0)

/**
 * @param {number | null | undefined} value
 * @param {(value: number) => string} format
 */
const text = (value, format) => (value === null || value === undefined ? '–' : format(value))

const number = (/** @type {number} */ value) => element('td', { class: 'number' }, whole(value))

const meter = (/** @type {number} */ share, /** @type {string} */ name) =>
  element('meter', { value: share, max: 1, 'aria-label': `${name}, filled` }, share.toFixed(2))

/**
 * @param {string} name
 * @param {string} value
 * @param {string | undefined} note
 */
const tile = (name, value, note) =>
  element(
    'dl',
    { class: 'tile' },
    element('dt', {}, name),
    element('dd', {}, value),
    element('small', {}, note ?? ''),
  )
