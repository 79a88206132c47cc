/** Makes the pictures of the documentation: the dashboard on the simulated shop. `npm run screenshots`. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { chromium, type Page } from 'playwright-core'

import { chromiumProgram } from '../test/support/fetch-chromium.ts'

const port = 8319
const page = `http://127.0.0.1:${port}/dashboard`
const folder = join(import.meta.dirname, 'images')
const size = { width: 1200, height: 960 }
/** The shop's model is better than counting by then. */
const warmUpMs = 100_000

const seconds = (n: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, n * 1_000))

async function untilServed(): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await fetch(page).catch(() => undefined)
    if (answer?.ok === true) return
    await seconds(0.2)
  }
  throw new Error('the demo does not serve a dashboard')
}

const shoot = (view: Page, name: string): Promise<Buffer> =>
  view.screenshot({ path: join(folder, `${name}.png`) })

async function main(): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const data = mkdtempSync(join(tmpdir(), 'freshet-pictures-'))
  const flags = ['--data', data, '--port', String(port), '--seconds', '600']
  const demo = spawn(process.execPath, ['src/app/cli.ts', 'demo', ...flags], { stdio: 'ignore' })
  const browser = await chromium.launch({
    executablePath: chromiumProgram(),
    args: ['--no-sandbox'],
  })
  try {
    await untilServed()
    const view = await browser.newPage({ viewport: size, colorScheme: 'light' })
    await view.goto(page)
    await view.waitForTimeout(warmUpMs)
    await shoot(view, 'dashboard-live')
    await view.click('#tab-try')
    await view.locator('#recommended button').first().click()
    await view.locator('#changed', { hasText: 'after the click' }).waitFor()
    await seconds(1)
    await shoot(view, 'dashboard-try')
    await view.setViewportSize({ width: size.width, height: 520 })
    await view.click('#tab-jobs')
    await view.click('[data-job=checkpoint]')
    const run = view.locator('#runs tr', { hasText: 'checkpoint' }).first()
    await run.locator('td', { hasText: 'done' }).waitFor()
    await seconds(1)
    await shoot(view, 'dashboard-jobs')
  } finally {
    await browser.close()
    demo.kill('SIGINT')
    rmSync(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 })
  }
}

await main()
