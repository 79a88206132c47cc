/** The API's documentation in a real Chromium: it has every route, and asks them. */
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { HttpServer } from '../../../src/serving/http/server.ts'
import { chromiumProgram } from '../../support/fetch-chromium.ts'
import { memoryDependencies } from '../../support/http-service.ts'

const { dependencies, scheduler, service } = memoryDependencies(systemClock)
const server = new HttpServer({ port: 0 }, dependencies)
let browser: Browser

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: chromiumProgram(), args: ['--no-sandbox'] })
  await server.start(new AbortController().signal)
}, 400_000)

afterAll(async () => {
  await browser.close()
  await server.stop()
})

/** Errors of its console, and requests to another host, are added to `faults`. */
async function open(faults: string[], width: number): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height: 800 } })
  page.setDefaultTimeout(20_000)
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('request', (request) => {
    if (!request.url().startsWith(server.address)) faults.push(`asked ${request.url()}`)
  })
  await page.goto(`${server.address}/docs`)
  await page.locator('details.operation').first().waitFor()
  return page
}

test('every operation of the document is there, and fits on a phone', async () => {
  const faults: string[] = []
  const page = await open(faults, 360)
  const answer = await fetch(`${server.address}/openapi.json`)
  const { paths } = (await answer.json()) as { paths: Record<string, object> }
  const count = Object.values(paths).flatMap((methods) => Object.keys(methods)).length
  expect(await page.locator('details.operation').count()).toBe(count)
  await page.fill('#find', '/v1/recommendations/batch')
  await expect.poll(() => page.locator('details.operation:visible').count()).toBe(1)
  await page.locator('details.operation:visible summary').click()
  await page.locator('details.operation:visible form').waitFor()
  const text = await page.locator('details.operation:visible').innerText()
  expect(text).toContain('crowding')
  expect(text).toContain('1..1000')
  expect(text).toContain('Needs a key with the scope read')
  const isWide = 'document.documentElement.scrollWidth > innerWidth'
  expect(await page.evaluate(isWide)).toBe(false)
  expect(faults).toEqual([])
  await page.close()
})

test('a request is made from its description, sent, and its answer shown', async () => {
  const faults: string[] = []
  const page = await open(faults, 1_200)
  const put = page.locator('#put--v1-items-id-')
  await put.locator('summary').focus()
  await page.keyboard.press('Enter')
  await put.locator('input[name=id]').fill('a/b')
  await put.locator('textarea').fill('{"attributes": {"price": 7}}')
  await put.getByRole('button', { name: 'Send' }).click()
  await expect.poll(() => put.locator('pre').innerText()).toContain('"visible": true')
  expect(await put.locator('pre').innerText()).toContain('/v1/items/a%2Fb')
  expect(service.facts.catalogue.byId('a/b')?.attributes).toEqual({ price: 7 })
  await put.locator('textarea').fill('{"price": 7}')
  await put.getByRole('button', { name: 'Send' }).click()
  await expect.poll(() => put.locator('pre').innerText()).toContain('REQUEST_INVALID')
  expect(faults.filter((fault) => !fault.includes('400'))).toEqual([])
  await page.close()
})

test('a job that runs is called off', async () => {
  const faults: string[] = []
  const page = await browser.newPage({ viewport: { width: 360, height: 740 } })
  page.setDefaultTimeout(20_000)
  page.on('pageerror', (error) => faults.push(error.message))
  scheduler.define('forever', (_, { signal, progress }) => {
    progress(0.4)
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  })
  const { id, finished } = await scheduler.begin('forever', {})
  await page.goto(`${server.address}/dashboard#jobs`)
  const row = page.locator(`[data-run="${id}"]`)
  await row.locator('progress').waitFor()
  expect(await row.locator('progress').getAttribute('value')).toBe('0.4')
  await row.getByRole('button', { name: 'cancel forever' }).focus()
  await page.keyboard.press('Enter')
  expect(await finished).toMatchObject({ state: 'failed', code: 'JOB_CANCELLED' })
  await expect.poll(() => row.innerText()).toContain('cancelled')
  expect(await row.locator('button').count()).toBe(0)
  expect(faults).toEqual([])
  await page.close()
})
