/** The report of a real replay, opened as a file in a real Chromium. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { replayPage } from '../../../src/app/recordings/replay-page.ts'
import { recording, run } from '../../support/cli.ts'
import { chromiumProgram } from '../../support/fetch-chromium.ts'
import { Directory } from '../small-service.ts'

let browser: Browser

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: chromiumProgram(), args: ['--no-sandbox'] })
}, 400_000)

afterAll(() => browser.close())

test('a page of its own, with a plot for each figure by hour', { timeout: 60_000 }, async () => {
  using directory = new Directory()
  const file = recording(join(directory.path, 'clicks.csv'))
  const page = join(directory.path, 'report.html')
  const flags = ['--set', 'model.evaluation.warmupEvents=100', '--limit', '800', '--report', page]
  const { code, json } = await run('replay', file, ...flags, '--json', '--delta-interval', '60')
  expect(code).toBe(0)
  const { progressive, hours } = json as {
    progressive: { evaluated: number }
    hours: readonly { evaluated: number }[]
  }
  expect(hours.reduce((sum, { evaluated }) => sum + evaluated, 0)).toBe(progressive.evaluated)

  const faults: string[] = []
  const asked: string[] = []
  const view = await browser.newPage({ viewport: { width: 900, height: 700 } })
  view.on('console', (message) => faults.push(message.text()))
  view.on('pageerror', (error) => faults.push(error.message))
  view.on('request', (request) => asked.push(request.url()))
  await view.goto(pathToFileURL(page).href)
  await view.locator('#cutoffs .uplot').waitFor()
  expect(await view.locator('.uplot canvas').count()).toBe(6)
  expect(await view.locator('dl').innerText()).toContain(`ranked\n${progressive.evaluated}\n`)
  const all = await view.locator('body > table').first().locator('tr').nth(1).innerText()
  expect(all.split(/\s+/)).toContain(String(progressive.evaluated))
  expect(faults).toEqual([])
  expect(asked).toEqual([pathToFileURL(page).href])
  await view.close()
})

test('what stands in a report cannot end a script or a tag', () => {
  const html = replayPage({ config: { model: '</script><b>"x"&' }, progressive: {}, hours: [] })
  expect(html).not.toContain('</script><b>')
  const [, data = ''] =
    /<script id="report" type="application\/json">(.*?)<\/script>/s.exec(html) ?? []
  expect(JSON.parse(data)).toMatchObject({ config: { model: '</script><b>"x"&' } })
})

test('a report that cannot be written is said with its file', async () => {
  using directory = new Directory()
  const file = recording(join(directory.path, 'clicks.csv'))
  const nowhere = join(directory.path, 'none', 'report.html')
  const { code, err } = await run('replay', file, '--limit', '64', '--report', nowhere)
  expect(code).toBe(2)
  expect(err.join()).toContain(nowhere)
})
