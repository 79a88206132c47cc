/**
 * The report of a replay as one HTML page that needs nothing else: figures, plotting library,
 * script and styles are all in it, so that it can be kept, sent and opened without a network.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Json, JsonObject } from '../command.ts'

const folder = fileURLToPath(new URL('page/', import.meta.url))

const measures = ['hr1', 'hr5', 'hr10', 'hr100', 'ndcg10', 'mrr10'] as const

const cohortNames: Readonly<Record<string, string>> = {
  newUser: 'first interaction of a user',
  newItem: 'item that nobody had before: unknown when it is asked',
  warm: 'history, and an item known before',
  cold: 'no history',
  fresh: 'item known for less than an hour',
}

/** What `freshet replay --json` prints, with its hours. */
export function replayPage(report: JsonObject): string {
  const charts = [
    ['hr10', 'HR@10 by hour'],
    ['mrr10', 'MRR@10 by hour'],
    ['ndcg10', 'NDCG@10 by hour'],
    ['cutoffs', 'HR@k of the whole stream'],
    ['loss', 'Loss before the model learned, by hour'],
    ['evaluated', 'Ranked interactions by hour'],
  ]
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escaped(title(report))}</title>`,
    `<style>${asset('uPlot.min.css')}</style><style>${own('page.css')}</style></head><body>`,
    `<h1>${escaped(title(report))}</h1>`,
    `<p class="quiet">${escaped(subtitle(report))}</p>`,
    `<dl>${headline(report)}</dl>`,
    ...charts.map(([id, name]) => `<h2>${name}</h2><div id="${id}"></div>`),
    `<h2>Who was asked for what</h2>${rankingTable(report)}`,
    `<h2>Tables</h2>${embeddingTables(report)}`,
    `<details><summary>All figures</summary><pre>${escaped(JSON.stringify(report, null, 2))}</pre>`,
    '</details>',
    `<script id="report" type="application/json">${inScript(JSON.stringify(report))}</script>`,
    `<script>${asset('uPlot.iife.min.js')}</script>`,
    `<script type="module">${own('page.js')}</script></body></html>\n`,
  ].join('\n')
}

const title = ({ config }: JsonObject): string => `Replay of ${text(member(config, 'model'))}`

function subtitle({ events, commit, machine, stateDigest, seconds }: JsonObject): string {
  const place = `${text(member(machine, 'cpu'))}, commit ${text(commit)}`
  return `${text(events)} events in ${text(seconds)} s; ${place}; state ${text(stateDigest)}`
}

function headline(report: JsonObject): string {
  const { progressive, baselines, eventsPerSecond, peakRssBytes } = report
  const figures: readonly (readonly [string, Json])[] = [
    ['HR@10', member(progressive, 'hr10')],
    ['MRR@10', member(progressive, 'mrr10')],
    ['HR@10, recently popular', member(member(baselines, 'recentlyPopular'), 'hr10')],
    ['HR@10, co-visitation', member(member(baselines, 'coVisitation'), 'hr10')],
    ['ranked', member(progressive, 'evaluated')],
    ['events a second', eventsPerSecond],
    ['peak memory, MB', Number(peakRssBytes) / 1e6],
  ]
  return figures
    .map(([name, value]) => `<div><dt>${name}</dt><dd>${text(value)}</dd></div>`)
    .join('')
}

function rankingTable({ progressive, baselines, cohorts }: JsonObject): string {
  const rows: readonly (readonly [string, Json])[] = [
    ['all', progressive],
    ['all, by recent popularity', member(baselines, 'recentlyPopular')],
    ['all, by co-visitation', member(baselines, 'coVisitation')],
    ...Object.keys(cohortNames).map(
      (name) => [cohortNames[name] ?? name, member(cohorts, name)] as const,
    ),
  ]
  const columns = [...measures, 'evaluated']
  return table(
    ['', ...columns],
    rows.map(([name, of]) => [name].concat(columns.map((column) => text(member(of, column))))),
  )
}

function embeddingTables({ tables }: JsonObject): string {
  const columns = ['name', 'rows', 'bytes', 'admitted', 'evicted']
  const list: readonly Json[] = Array.isArray(tables) ? tables : []
  return table(
    columns,
    list.map((one) => columns.map((column) => text(member(one, column)))),
  )
}

const cells = (tag: string, row: readonly string[]): string =>
  `<tr>${row.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<table>${cells('th', head)}${rows.map((row) => cells('td', row)).join('')}</table>`

/** Large numbers whole, shares with four digits. */
function text(value: Json): string {
  if (typeof value === 'string') return value
  if (typeof value !== 'number') return '–'
  if (Number.isInteger(value) || value >= 100) return Math.round(value).toLocaleString('en')
  return value.toFixed(4)
}

const member = (value: Json, name: string): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined

const escaped = (plain: string): string =>
  plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

/** No closing tag may stand in a script. */
const inScript = (json: string): string => json.replaceAll('<', '\\u003c')

const own = (name: string): string => readFileSync(join(folder, name), 'utf8')

const asset = (name: string): string =>
  readFileSync(join(dirname(createRequire(import.meta.url).resolve('uplot')), name), 'utf8')
