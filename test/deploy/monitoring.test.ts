/** Alerts and dashboard, as far as they can be read without a service; with one: deployment tests. */
import { describe, expect, test } from 'vitest'

import { versionFamilies } from '../../src/serving/http/version-metrics.ts'
import { alerts, dashboard, expressions, isOfVersions, textOf } from '../support/deployment.ts'
import { parseExpression } from '../support/promql.ts'

describe('expressions', () => {
  test.each(expressions())('%s is one, of metrics of freshet', (_, text) => {
    const { errors, selectors } = parseExpression(text)
    expect(errors).toEqual([])
    expect(selectors.length).toBeGreaterThan(0)
    for (const { metric } of selectors) expect(metric).toMatch(/^freshet_[a-z0-9_]+$/)
  })

  test('what is none is noticed', () => {
    expect(parseExpression('rate(freshet_a[5m').errors).not.toEqual([])
    const parsed = parseExpression('sum by (job, x) (rate(freshet_a{b="c",d=~"e.*"}[5m])) > 1')
    expect(parsed).toEqual({
      errors: [],
      grouping: ['job', 'x'],
      selectors: [
        {
          metric: 'freshet_a',
          matchers: [
            ['b', '=', 'c'],
            ['d', '=~', 'e.*'],
          ],
        },
      ],
    })
  })
})

describe('alerts', () => {
  const headings = new Set(
    [...textOf('docs/operating.md').matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
      title.toLowerCase().replaceAll(' ', '-'),
    ),
  )

  test.each(alerts())('$alert has its section for operators', ({ alert, annotations }) => {
    expect(annotations.runbook_url).toBe(`docs/operating.md#${alert.toLowerCase()}`)
    expect([...headings]).toContain(alert.toLowerCase())
  })

  test('each name is there once', () => {
    const names = alerts().map(({ alert }) => alert)
    expect(new Set(names).size).toBe(names.length)
    expect(names.length).toBeGreaterThan(10)
  })
})

const outcomes = { answers: 9, answersTaken: 3, interactions: 7, hits: 5 }
const rate = { value: 0.5, low: 0.4, high: 0.6 }
const ranking = { hr10: 0.4, ndcg10: 0.3, mrr10: 0.2, evaluated: 10 }

/** What a process says of a version that says everything. */
const families = versionFamilies({
  versions: [
    {
      name: 'wide',
      role: 'primary',
      state: 'ready',
      percent: 100,
      createdAt: 0,
      differs: [],
      training: {
        steps: 1,
        examples: 1,
        lagEvents: 0,
        loss: 1,
        guardTrips: 0,
        rows: 1,
        tableBytes: 1,
      },
      evaluation: { model: ranking, recentlyPopular: ranking, coVisitation: ranking },
      index: { items: 1, bytes: 1 },
      overlap: { mean: 1, lists: 1 },
    },
  ],
  experiment: {
    recording: true,
    since: 0,
    windowMs: 1,
    forgotten: 0,
    dropped: 0,
    countedAt: 1,
    versions: [{ version: 'wide', ...outcomes, ctr: rate, hitRate: rate }],
  },
})

describe('of several versions', () => {
  const asked = expressions().map(([name, text]) => {
    const { selectors, grouping } = parseExpression(text)
    return { name, selectors, grouping }
  })
  const ofVersions = asked.filter(({ selectors }) =>
    selectors.some(({ metric }) => isOfVersions(metric)),
  )
  const told = new Map(
    families.flatMap(({ name, labelNames, samples }) =>
      samples.length === 0 ? [] : [[name, new Set(['job', ...labelNames])]],
    ),
  )

  test('there are panels with traffic, answers taken and hits', () => {
    const metrics = ofVersions.flatMap(({ selectors }) => selectors.map(({ metric }) => metric))
    expect(new Set(metrics)).toEqual(
      new Set([
        'freshet_version_traffic_ratio',
        'freshet_version_hr10_ratio',
        'freshet_experiment_taken_answers_total',
        'freshet_experiment_answers_total',
        'freshet_experiment_hits_total',
        'freshet_experiment_interactions_total',
      ]),
    )
  })

  test.each(ofVersions)('$name asks for what is told', ({ selectors, grouping }) => {
    for (const { metric, matchers } of selectors) {
      const labels = [...matchers.map(([label]) => label), ...grouping]
      expect(labels.filter((label) => told.get(metric)?.has(label) !== true)).toEqual([])
    }
  })
})

describe('the dashboard', () => {
  const { panels, templating } = dashboard()

  test('has panels that lie side by side, each with a number of its own', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)} ${y + Math.floor(i / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
  })

  test('uses the variables that it has', () => {
    const used = [...textOf('deploy/grafana/freshet.json').matchAll(/\$\{?(\w+)\}?/g)].map(
      ([, name = '']) => name,
    )
    const own = new Set([...templating.list.map(({ name }) => name), '__rate_interval'])
    expect(used.filter((name) => !own.has(name))).toEqual([])
  })
})
