/** The dashboard in a real Chromium, on a real service: the ways that a person takes. */
import { hash } from 'node:crypto'

import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { smallShop } from '../../app/small-service.ts'
import { chromiumProgram } from '../../support/fetch-chromium.ts'
import { type ServiceProcess, startService } from '../../support/service-process.ts'

let service: ServiceProcess
let browser: Browser

const sets = (values: readonly string[]): string[] => values.flatMap((value) => ['--set', value])

async function post(path: string, body: unknown, address = service.address): Promise<void> {
  const answer = await fetch(address + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  expect(answer.ok).toBe(true)
}

const events = (round: number) =>
  Array.from({ length: 200 }, (_, i) => ({
    userId: `user-${i % 20}`,
    itemId: `item-${(i * 7 + round) % 60}`,
    type: 'click',
  }))

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: chromiumProgram(), args: ['--no-sandbox'] })
  service = await startService(sets(smallShop))
  await post(
    '/v1/items',
    Array.from({ length: 60 }, (_, i) => ({
      id: `item-${i}`,
      features: { title: `${i % 2 === 0 ? 'Green' : 'Blue'} thing ${i}` },
    })),
  )
  await post('/v1/events', events(0))
}, 400_000)

afterAll(async () => {
  await browser.close()
  await service[Symbol.asyncDispose]()
})

/** A page that fails the test for an error in its console or a request to another host. */
class Visit implements AsyncDisposable {
  readonly page: Page
  readonly faults: string[] = []

  private constructor(page: Page, host: string) {
    this.page = page
    page.setDefaultTimeout(20_000)
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.faults.push(message.text())
    })
    page.on('pageerror', (error) => this.faults.push(error.message))
    page.on('request', (request) => {
      if (!request.url().startsWith(host)) this.faults.push(`asked ${request.url()}`)
    })
  }

  static async open(
    options: Parameters<Browser['newPage']>[0] = {},
    { at = '', address = service.address } = {},
  ): Promise<Visit> {
    const visit = new Visit(await browser.newPage(options), address)
    await visit.page.goto(`${address}/dashboard${at}`)
    return visit
  }

  text(selector: string): Promise<string> {
    return this.page.locator(selector).innerText()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.close()
  }
}

const ids = (page: Page, list: string): Promise<string[]> =>
  page
    .locator(`${list} button`)
    .evaluateAll((buttons) => buttons.map((button) => button.getAttribute('data-id') ?? ''))

test.each([
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['on a phone', { viewport: { width: 360, height: 740 } }],
] as const)('the live view shows what the service does (%s)', async (_, options) => {
  await using visit = await Visit.open(options)
  const { page } = visit
  await page.locator('#state', { hasText: 'ready' }).waitFor()
  await page.locator('#tiles dl', { hasText: 'items' }).waitFor()
  expect(await page.locator('#tiles dl').count()).toBe(8)
  const of = (name: string) => page.locator('#tiles dl').filter({ hasText: name }).locator('dd')
  expect(await of('users').innerText()).toBe('60')
  await post('/v1/events', events(1))
  await expect.poll(() => of('events/s').innerText(), { timeout: 20_000 }).toMatch(/^[\d.]*[1-9]/)
  await expect.poll(() => of('fact freshness').innerText()).toMatch(/^[\d.]+ m?s$/)
  expect(await page.locator('#charts canvas').count()).toBe(6)
  expect(await visit.text('#tables')).toContain('words')
  // Nothing is wider than the screen.
  const width = await page.evaluate('document.documentElement.scrollWidth')
  expect(width).toBeLessThanOrEqual(page.viewportSize()?.width ?? 0)
  expect(visit.faults).toEqual([])
})

test('a click changes the list of the user, and the page says how soon', async () => {
  await using visit = await Visit.open({}, { at: '#try' })
  const { page } = visit
  await page.locator('#recommended button').first().waitFor()
  expect(await page.locator('#asker [name=user]').inputValue()).toMatch(/^user-\d+$/)
  await page.fill('#asker [name=user]', 'user-3')
  await page.click('#asker button:not([type])')
  await expect.poll(() => visit.text('#history')).toContain('thing')
  await page.check('#asker [name=explain]')
  await page.locator('#recommended .why').first().waitFor()
  const before = await ids(page, '#recommended')
  await page.locator('#recommended button').first().click()
  await expect.poll(() => visit.text('#changed')).toMatch(/^\d+ ms after the click/)
  const after = await ids(page, '#recommended')
  expect(after).not.toContain(before[0])
  expect(await page.locator('#recommended .new').count()).toBeGreaterThanOrEqual(1)
  await expect.poll(() => ids(page, '#history').then(([first]) => first)).toBe(before[0])
  await page.click('#stranger')
  await expect.poll(() => visit.text('#changed')).toContain('nobody knows this user')
  expect(visit.faults.filter((fault) => !fault.includes('404'))).toEqual([])
})

test('items are found by title, and have others near to them', async () => {
  await using visit = await Visit.open({}, { at: '#items' })
  const { page } = visit
  await page.locator('#found button').first().waitFor()
  await page.fill('#search [name=text]', 'GREEN thing 1')
  await page.keyboard.press('Enter')
  const green = [10, 12, 14, 16, 18].map((i) => `item-${i}`)
  await expect.poll(() => ids(page, '#found')).toEqual(green)
  await page.locator('#found button').nth(2).click()
  await expect.poll(() => visit.text('#similar-title')).toBe('Similar to Green thing 14')
  const near = await ids(page, '#similar')
  expect(near).toHaveLength(20)
  expect(near).not.toContain('item-14')
  await page.fill('#search [name=text]', 'nothing like it')
  await page.keyboard.press('Enter')
  await expect.poll(() => visit.text('#found')).toContain('no item')
  expect(visit.faults).toEqual([])
})

test('jobs are run and their runs shown; tabs are moved among by keys', async () => {
  await using visit = await Visit.open()
  const { page } = visit
  await page.locator('#tab-live').focus()
  for (let i = 0; i < 3; i += 1) await page.keyboard.press('ArrowRight')
  await page.locator('[data-job=checkpoint]').waitFor()
  expect(await page.locator('#tab-jobs').getAttribute('aria-selected')).toBe('true')
  expect(new URL(page.url()).hash).toBe('#jobs')
  await page.locator('[data-job=checkpoint]').focus()
  await page.keyboard.press('Enter')
  const run = page.locator('#runs tr', { hasText: 'checkpoint' }).first()
  await expect.poll(() => run.innerText(), { timeout: 20_000 }).toContain('done')
  expect(visit.faults).toEqual([])
})

test('rows and weights go back to a checkpoint that is chosen, by keys alone', async () => {
  const jobs = 'v1/admin/jobs'
  const run = async (name: string) => {
    const answer = await fetch(`${service.address}/${jobs}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name }),
    })
    return (await answer.json()) as { result: { name: string } }
  }
  const { result: first } = await run('checkpoint')
  await post('/v1/events', events(2))
  await expect.poll(() => run('checkpoint').then(({ result }) => result.name)).not.toBe(first.name)
  await using visit = await Visit.open({ viewport: { width: 360, height: 740 } }, { at: '#jobs' })
  const { page } = visit
  await page.locator(`#checkpoint option[value="${first.name}"]`).waitFor({ state: 'attached' })
  await page.selectOption('#checkpoint', first.name)
  await page.locator('#to-checkpoint button').focus()
  page.once('dialog', (dialog) => void dialog.dismiss())
  await page.keyboard.press('Enter')
  expect(await page.locator('#runs tr', { hasText: 'rollBack' }).count()).toBe(0)
  page.once('dialog', (dialog) => void dialog.accept())
  await page.keyboard.press('Enter')
  const last = page.locator('#runs tr', { hasText: 'rollBack' })
  await expect.poll(() => last.innerText(), { timeout: 20_000 }).toContain(`{"to":"${first.name}"}`)
  const width = await page.evaluate('document.documentElement.scrollWidth')
  expect(width).toBeLessThanOrEqual(360)
  expect(visit.faults).toEqual([])
})

test('a service with keys is asked with the one that the user gives', async () => {
  const key = 'a-key-that-nobody-guesses'
  const known = { name: 'test', sha256: hash('sha256', key), scopes: ['read', 'write', 'admin'] }
  const keys = `process.http.apiKeys=${JSON.stringify([known])}`
  await using other = await startService(sets([...smallShop, keys]))
  await using visit = await Visit.open({}, { address: other.address })
  const { page } = visit
  await page.fill('#key [name=key]', 'a-guess')
  await page.keyboard.press('Enter')
  await expect.poll(() => visit.text('#error')).toContain('key')
  await page.fill('#key [name=key]', key)
  await page.keyboard.press('Enter')
  await page.locator('#tiles dl').first().waitFor()
  await page.locator('#key').waitFor({ state: 'hidden' })
  expect(page.url()).not.toContain('guess')
})

test('a service that knows nothing yet says so, and shows what comes', async () => {
  await using empty = await startService(sets(smallShop))
  await using visit = await Visit.open({}, { at: '#try', address: empty.address })
  const { page } = visit
  await page.locator('#changed', { hasText: 'nobody has done anything yet' }).waitFor()
  await page.click('#stranger')
  await page.locator('#recommended', { hasText: 'nothing to recommend' }).waitFor()
  await page.locator('#history', { hasText: 'nothing yet' }).waitFor()
  await page.click('#tab-items')
  await page.locator('#found', { hasText: 'there are no items yet' }).waitFor()
  await page.click('#tab-live')
  await expect.poll(() => page.textContent('#tiles')).toContain('model HR@10–popular now –')
  await page.click('#tab-jobs')
  await page.locator('#no-runs', { hasText: 'No job has run yet' }).waitFor()
  await page.click('[data-job=checkpoint]')
  await page.locator('#runs tr', { hasText: 'checkpoint' }).waitFor()
  await page.locator('#no-runs').waitFor({ state: 'hidden' })
  await post('/v1/items', [{ id: 'first', features: { title: 'First' } }], empty.address)
  await page.click('#tab-items')
  await page.locator('#found button', { hasText: 'First' }).waitFor()
  expect(visit.faults).toEqual([])
})

test('a service that has gone is said to be gone', async () => {
  const other = await startService(sets(smallShop))
  await using visit = await Visit.open({}, { address: other.address })
  await visit.page.locator('#state', { hasText: 'ready' }).waitFor()
  await other[Symbol.asyncDispose]()
  await visit.page.locator('#state', { hasText: 'not reached' }).waitFor()
  expect(await visit.text('#error')).toBe('the service does not answer')
})
