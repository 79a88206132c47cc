/** Alerts and dashboard, as far as they can be read without a service; with one: deployment tests. */
import { describe, expect, test } from 'vitest'

import { alerts, dashboard, expressions, textOf } from '../support/deployment.ts'
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
