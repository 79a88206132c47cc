/**
 * Item-kNN on the stream of news clicks, by the protocol of `freshet replay` with configs/news.yaml:
 * the cosine of how often two articles were clicked by the same users, summed over the newest of a
 * user's articles; equal ones, and users without a history, by recent popularity. Everything is
 * counted up to the click before. `node bench/quality/item-knn.ts [--limit 600000]` prints a table.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'

import { dataFolder } from './protocols.ts'

const clicks = `${dataFolder}/globo-news/clicks_days1-9.csv.gz`
const warmUp = 20_000
const everyNth = 4
const halfLifeMs = 3_600_000
/** Of a user's newest articles: whose neighbours are looked at, and who becomes one's neighbour. */
const asked = [1, 5]
const together = 20
/** Articles clicked seldom have chance neighbours: a regularisation as in GRU4Rec's baseline. */
const seldom = 20
const listed = 10
/** More than there are. */
const mostArticles = 50_000

interface Click {
  readonly time: number
  readonly user: number
  readonly article: number
}

function read(limit: number): readonly Click[] {
  const lines = gunzipSync(readFileSync(clicks)).toString('latin1').split('\n')
  return lines.slice(1, limit + 1).flatMap((line) => {
    const [time, user, , article] = line.split(',', 4).map(Number)
    return article === undefined ? [] : [{ time, user, article }]
  })
}

class ItemKnn {
  /** Articles by place, in the order in which they came. */
  readonly #places = new Map<number, number>()
  readonly #histories = new Map<number, number[]>()
  readonly #together: Map<number, number>[] = []
  readonly #counts: number[] = []
  /** Decayed forward: 2^(t / half-life) for each click. */
  readonly #popularity: number[] = []
  readonly #start: number
  /** By place. */
  readonly #scores = new Float64Array(mostArticles)

  constructor(start: number) {
    this.#start = start
  }

  /** The rank of the clicked article by its neighbours of the newest `newest`; Infinity: a miss. */
  rank({ user, article }: Click, newest: number): number {
    const target = this.#places.get(article)
    const seen = new Set(this.#histories.get(user))
    if (target === undefined || seen.has(target)) return Infinity
    const scores = this.#scoresBy([...seen].slice(0, newest))
    const own = scores[target]
    const clicked = this.#popularity[target]
    let [above, equal] = [0, 0]
    for (let place = 0; place < this.#counts.length; place += 1) {
      if (place === target || seen.has(place)) continue
      const score = scores[place]
      const more = score === own ? this.#popularity[place] - clicked : score - own
      if (more > 0) above += 1
      if (more === 0) equal += 1
    }
    return 1 + above + equal / 2
  }

  take({ user, article, time }: Click): void {
    const place = this.#place(article)
    const history = this.#histories.get(user) ?? []
    this.#histories.set(user, [place, ...history.filter((other) => other !== place)])
    this.#popularity[place] += 2 ** ((time - this.#start) / halfLifeMs)
    if (history.includes(place)) return
    this.#counts[place] += 1
    for (const other of history.slice(0, together)) {
      this.#pair(place, other)
      this.#pair(other, place)
    }
  }

  #scoresBy(articles: readonly number[]): Float64Array {
    const scores = this.#scores.fill(0, 0, this.#counts.length)
    for (const article of articles) {
      const own = this.#counts[article] + seldom
      for (const [other, times] of this.#together[article]) {
        const cosine = times / Math.sqrt(own * (this.#counts[other] + seldom))
        scores[other] += cosine
      }
    }
    return scores
  }

  #place(article: number): number {
    const known = this.#places.get(article)
    if (known !== undefined) return known
    const place = this.#counts.length
    this.#places.set(article, place)
    this.#together.push(new Map())
    this.#counts.push(0)
    this.#popularity.push(0)
    return place
  }

  #pair(one: number, other: number): void {
    this.#together[one].set(other, (this.#together[one].get(other) ?? 0) + 1)
  }
}

function main(limit: number): void {
  const all = read(limit)
  const knn = new ItemKnn(all[0].time)
  const sums = asked.map(() => ({ hits: 0, reciprocal: 0 }))
  let ranked = 0
  for (const [i, click] of all.entries()) {
    const isRanked = i >= warmUp && i % everyNth === 0
    ranked += Number(isRanked)
    for (const [k, newest] of asked.entries()) {
      const rank = isRanked ? knn.rank(click, newest) : Infinity
      sums[k].hits += Number(rank <= listed)
      sums[k].reciprocal += rank <= listed ? 1 / rank : 0
    }
    knn.take(click)
  }
  process.stdout.write('| item-kNN of the newest | HR@10 | MRR@10 |\n|---|---|---|\n')
  for (const [k, { hits, reciprocal }] of sums.entries()) {
    const shares = [hits, reciprocal].map((sum) => (sum / ranked).toFixed(3).replace(/^0/, ''))
    process.stdout.write(`| ${asked[k]} | ${shares.join(' | ')} |\n`)
  }
}

const { values } = parseArgs({ options: { limit: { type: 'string', default: '600000' } } })
main(Number(values.limit))
