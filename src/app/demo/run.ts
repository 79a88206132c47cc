/**
 * Drives the simulated shop against a running service over HTTP, at a chosen rate, and prints what
 * happens. It knows nothing of the service but its address.
 */
import type { Clock } from '../../base/clock.ts'
import type { Terminal } from '../command.ts'
import { ServiceClient } from '../service-client.ts'
import { describe, toEvent } from './shop-bodies.ts'
import { Shop } from './shop.ts'
import { tellEpisode } from './story.ts'
import { episodeLines, figures, heading } from './view.ts'

export interface DemoOptions {
  readonly address: string
  readonly seed: number
  readonly users: number
  readonly items: number
  /** Events per second. */
  readonly rate: number
  /** How long; Infinity: until the signal. */
  readonly seconds: number
  /**
   * Between two lines of figures, and between two stories, milliseconds. Default 2,000 and 10,000.
   */
  readonly figuresMs?: number
  readonly storyMs?: number
  readonly clock: Clock
  readonly terminal: Terminal
}

const tickMs = 20
const itemsPerRequest = 1_000
/** Requests under way at most; beyond, the shop waits rather than piles up. */
const maxUnderWay = 32

export async function runDemo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const client = new ServiceClient(options.address, signal)
  const shop = new Shop({ ...options, eventsPerSecond: options.rate })
  const { terminal } = options
  await client.waitUntilReady(30_000)
  for (let from = 0; from < shop.catalogue.length; from += itemsPerRequest) {
    const items = shop.catalogue.slice(from, from + itemsPerRequest)
    await client.sendItems(items.map((item) => describe(item, 'id')))
  }
  const catalogue = shop.catalogue.length.toLocaleString('en')
  terminal.print(`${catalogue} items are on the shelves, ${options.users} users come in.`)
  terminal.print('')
  const ended = new AbortController()
  const until = AbortSignal.any([signal, ended.signal])
  const show = print(client, shop, { ...options, until })
  await drive(client, shop, { ...options, until })
  ended.abort()
  await show
}

interface Running extends DemoOptions {
  readonly until: AbortSignal
}

/** Sends what happens, in ticks, as fast as the rate says. */
async function drive(client: ServiceClient, shop: Shop, options: Running): Promise<void> {
  const { clock, rate, seconds, until, terminal } = options
  const startedAt = clock.monotonic()
  const underWay = new Set<Promise<void>>()
  let sent = 0
  for (;;) {
    const elapsed = (clock.monotonic() - startedAt) / 1000
    if (until.aborted || elapsed >= seconds) break
    const due = Math.min(Math.floor(elapsed * rate) - sent, itemsPerRequest)
    if (due > 0 && underWay.size < maxUnderWay) {
      sent += due
      const events = Array.from({ length: due }, () => toEvent(shop.next()))
      const request: Promise<void> = client
        .sendEvents(events)
        .then(
          () => undefined,
          (error: unknown) => {
            if (!until.aborted) terminal.progress(`events not accepted: ${String(error)}`)
          },
        )
        .finally(() => underWay.delete(request))
      underWay.add(request)
    }
    await pause(tickMs, until)
  }
  await Promise.all(underWay)
}

/** Prints the figures and, now and then, Ada's story. */
async function print(client: ServiceClient, shop: Shop, options: Running): Promise<void> {
  const { clock, terminal, until, figuresMs = 2_000, storyMs = 10_000 } = options
  const startedAt = clock.monotonic()
  let [before, beforeAt, nextStoryAt, niche] = [await client.metrics(), startedAt, startedAt, 0]
  for (const line of heading()) terminal.print(line)
  while (!until.aborted) {
    await pause(figuresMs, until)
    try {
      const [now, at] = [await client.metrics(), clock.monotonic()]
      const times = { atSeconds: (at - startedAt) / 1000, overSeconds: (at - beforeAt) / 1000 }
      terminal.print(figures({ now, before }, times))
      before = now
      beforeAt = at
      if (at < nextStoryAt + storyMs || until.aborted) continue
      nextStoryAt = at
      const episode = await tellEpisode(client, shop, { niche, clock })
      niche += 7
      for (const line of episode === undefined ? [] : episodeLines(episode)) terminal.print(line)
      for (const line of heading()) terminal.print(line)
    } catch (error) {
      if (!until.aborted) terminal.progress(`no answer: ${String(error)}`)
    }
  }
}

/** Waits, or less if the signal comes. Never rejects. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve()
      return
    }
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
