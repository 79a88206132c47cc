/** The page: views behind tabs, asked anew once a second as far as they are seen. */
import { byId } from './dom.js'
import { Items } from './items.js'
import { Jobs } from './jobs.js'
import { Live } from './live.js'
import { admin, client, FreshetError, useKey } from './service.js'
import { TryIt } from './try.js'
import { Versions } from './versions.js'

const intervalMs = 1000

const error = byId('error', HTMLElement)
const keyForm = byId('key', HTMLFormElement)
const state = byId('state', HTMLElement)

/** @param {() => Promise<void>} work */
async function attempt(work) {
  try {
    await work()
    error.hidden = true
  } catch (cause) {
    show(cause)
  }
}

/** @param {unknown} cause */
function show(cause) {
  const status = cause instanceof FreshetError ? cause.status : undefined
  keyForm.hidden = status !== 401 && status !== 403
  const message = cause instanceof Error ? cause.message : String(cause)
  error.textContent = status === 0 ? 'the service does not answer' : message
  error.hidden = false
  if (status === 0) state.textContent = 'not reached'
}

const live = new Live()
/** @param {() => Promise<void>} work */
const begin = (work) => void attempt(work)
const tryIt = new TryIt(begin)
const items = new Items(begin)
const jobs = new Jobs(begin)
const versions = new Versions(begin)

/** What a view asks for when it is opened, and whether again every second. */
const views = {
  live: { open: refresh, isLive: true },
  try: { open: () => tryIt.open(), isLive: false },
  items: { open: () => items.open(), isLive: false },
  jobs: { open: () => jobs.open(), isLive: true },
  versions: { open: () => versions.open(), isLive: true },
}

/** @type {keyof typeof views} */
let view = 'live'

async function refresh() {
  live.show(await client().status())
}

async function tick() {
  const [status] = await Promise.all([client().status(), showReadiness()])
  if (view === 'live') live.show(status)
  else live.remember(status)
  if (view !== 'live' && views[view].isLive) await views[view].open()
}

async function showReadiness() {
  const { ready, missing } = await admin().readiness()
  state.textContent = ready ? 'ready' : `waiting for ${missing.join(', ')}`
}

const tabs = [...document.querySelectorAll('[role=tab]')].filter(
  (tab) => tab instanceof HTMLButtonElement,
)

/** @param {HTMLButtonElement} chosen */
function select(chosen) {
  for (const tab of tabs) {
    const isChosen = tab === chosen
    tab.setAttribute('aria-selected', String(isChosen))
    tab.tabIndex = isChosen ? 0 : -1
    byId(tab.getAttribute('aria-controls') ?? '', HTMLElement).hidden = !isChosen
  }
  const name = chosen.getAttribute('aria-controls') ?? ''
  if (name in views) view = /** @type {keyof typeof views} */ (name)
  history.replaceState(undefined, '', `#${name}`)
  void attempt(() => views[view].open())
}

for (const [at, tab] of tabs.entries()) {
  tab.addEventListener('click', () => select(tab))
  tab.addEventListener('keydown', ({ key }) => {
    const step = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? tabs.length - 1 : 0
    if (step === 0) return
    const next = tabs[(at + step) % tabs.length]
    next.focus()
    select(next)
  })
}

keyForm.addEventListener('submit', (event) => {
  event.preventDefault()
  const field = keyForm.elements.namedItem('key')
  if (field instanceof HTMLInputElement) useKey(field.value)
  keyForm.reset()
  void attempt(async () => {
    await views[view].open()
    keyForm.hidden = true
  })
})

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => live.redraw())

const wanted = tabs.find((tab) => `#${tab.getAttribute('aria-controls')}` === location.hash)
if (wanted !== undefined) select(wanted)

/** One question at a time: a slow service is not asked twice. */
async function follow() {
  for (;;) {
    if (!document.hidden) await attempt(tick)
    await new Promise((resolve) => setTimeout(resolve, intervalMs))
  }
}
void follow()
