/** Versions in the dashboard, in a real Chromium: compared, given traffic, promoted, gone back from. */
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { smallConfig, smallShop } from '../../app/small-service.ts'
import { shopEvents, VersionsOverHttp } from '../../app/versions/small-versions.ts'
import { chromiumProgram } from '../../support/fetch-chromium.ts'
import { type ServiceProcess, startService } from '../../support/service-process.ts'

let service: ServiceProcess
let browser: Browser
let versions: VersionsOverHttp

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: chromiumProgram(), args: ['--no-sandbox'] })
  service = await startService(smallShop.flatMap((value) => ['--set', value]))
  versions = new VersionsOverHttp(service.address)
  await versions.ask('POST', '/v1/events', shopEvents(600))
}, 400_000)

afterAll(async () => {
  await browser.close()
  await service[Symbol.asyncDispose]()
})

const cell = (page: Page, name: string, column: number) =>
  page.locator(`[data-version=${name}] td`).nth(column)

test.each([
  ['light', { colorScheme: 'light' }],
  ['dark, on a phone', { colorScheme: 'dark', viewport: { width: 360, height: 740 } }],
] as const)(
  'versions are compared, promoted and gone back from (%s)',
  async (_, options) => {
    const page = await browser.newPage(options)
    page.setDefaultTimeout(20_000)
    const faults: string[] = []
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) faults.push(message.text())
    })
    page.on('pageerror', (error) => faults.push(error.message))
    await page.goto(`${service.address}/dashboard#versions`)
    await expect.poll(() => page.locator('#versions-note').innerText()).toContain('One version')

    const { model } = smallConfig('unused')
    await versions.ask('POST', '/v1/admin/versions', { name: 'twin', model })
    await versions.ready('twin', 512)
    await expect.poll(() => cell(page, 'twin', 1).innerText()).toBe('ready')
    await page.fill('[data-version=twin] input', '50')
    await page.keyboard.press('Enter')
    await expect.poll(() => versions.one('twin').then(({ percent }) => percent)).toBe(50)
    for (let i = 1; i <= 40; i += 1) await versions.recommend(`user-${i}`)
    await expect.poll(() => cell(page, 'twin', 8).innerText()).toMatch(/^0\.0 %/)
    await expect.poll(() => cell(page, 'twin', 6).innerText()).toMatch(/^[01]\.\d{3}$/)
    const width = await page.evaluate('document.documentElement.scrollWidth')
    expect(width).toBeLessThanOrEqual(page.viewportSize()?.width ?? 0)

    await page.click('[data-promote=twin]')
    await expect.poll(() => cell(page, 'twin', 1).innerText()).toBe('answers')
    expect((await versions.recommend('user-1')).model.name).toBe('twin')
    await page.locator('#roll-back', { hasText: 'Roll back to shop' }).click()
    await expect.poll(() => cell(page, 'shop', 1).innerText()).toBe('answers')
    await page.locator('#roll-back').waitFor({ state: 'hidden' })
    page.once('dialog', (dialog) => void dialog.accept())
    await page.click('[data-remove=twin]')
    await page.locator('[data-version=twin]').waitFor({ state: 'detached' })
    expect((await versions.view()).versions).toHaveLength(1)
    expect(faults).toEqual([])
    await page.close()
  },
  120_000,
)
