/** Makes the pictures of the documentation: the dashboard on the simulated shop. `npm run screenshots`. */
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { chromium, type Page } from 'playwright-core'

import { seededRandom } from '../src/base/random.ts'
import { FreshetClient } from '../src/client/freshet-client.ts'
import { chromiumProgram } from '../test/support/fetch-chromium.ts'

const port = 8319
const address = `http://127.0.0.1:${port}`
const page = `${address}/dashboard`
const program = 'src/app/cli.ts'
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

const versions = async (...words: readonly string[]): Promise<string> => {
  const command = [program, 'versions', ...words, '--address', address]
  return (await promisify(execFile)(process.execPath, command)).stdout
}

/** A version beside the shop's, with a fifth of the traffic once it may have it. */
async function addVersion(): Promise<void> {
  const change = ['--set', 'model.loss.extraNegatives=100']
  await versions('add', '--config', 'configs/shop.yaml', ...change, '--name', 'few-negatives')
  for (let tries = 0; !/few-negatives .* ready/.test(await versions('list')); tries += 1) {
    if (tries === 60) throw new Error('the version does not get ready')
    await seconds(1)
  }
  await versions('traffic', 'few-negatives', '20')
}

/** Shoppers who ask, and take one of the first items one time in three, whichever it is. */
async function shop(shoppers: number): Promise<void> {
  const client = new FreshetClient({ baseUrl: address })
  const random = seededRandom(1)
  for (let i = 0; i < shoppers; i += 1) {
    const userId = `user-${random.integer(2000)}`
    const { items } = await client.recommend({ userId, n: 10 })
    const taken = random.next() < 1 / 3 ? items[random.integer(items.length)] : undefined
    if (taken !== undefined) await client.sendEvents([{ userId, itemId: taken.id, type: 'click' }])
  }
}

const shoot = (view: Page, name: string): Promise<Buffer> =>
  view.screenshot({ path: join(folder, `${name}.png`) })

async function main(): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const data = mkdtempSync(join(tmpdir(), 'freshet-pictures-'))
  const flags = ['--data', data, '--port', String(port), '--seconds', '600']
  const demo = spawn(process.execPath, [program, 'demo', ...flags], { stdio: 'ignore' })
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
    await addVersion()
    await shop(2_000)
    await view.click('#tab-versions')
    await view.locator('#versions-table', { hasText: 'few-negatives' }).waitFor()
    await seconds(20)
    await shoot(view, 'dashboard-versions')
  } finally {
    await browser.close()
    demo.kill('SIGINT')
    rmSync(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 })
  }
}

await main()
