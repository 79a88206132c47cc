/**
 * `freshet bench guard`: what becomes of a model when its rows turn to NaN, its weights explode, or
 * labels are inverted for an hour: with the guard, and with one that refuses nothing that is a
 * number and never goes back. A stretch of a recording before the incident, the hour of it, and a
 * stretch after; the trainer is the service's own, with journal and checkpoints.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import * as z from 'zod'

import type { Config } from '../src/app/config/config-schema.ts'
import { bundledConfig, loadConfig } from '../src/app/config/config.ts'
import { dataPaths, trainerModel, trainerProcess } from '../src/app/options.ts'
import { contextFields } from '../src/app/recordings/replay.ts'
import { systemClock } from '../src/base/clock.ts'
import { seededRandom } from '../src/base/random.ts'
import type { EventLogReader, LogBatch, Position, ReadOptions } from '../src/stream/event-log.ts'
import type { Event } from '../src/stream/event.ts'
import { RecordedLog } from '../src/stream/recorded/recorded-log.ts'
import type { GuardOptions } from '../src/trainer/guard.ts'
import { Trainer } from '../src/trainer/trainer-loop.ts'

const optionsSchema = z.object({
  file: z.string(),
  columns: z.string().optional(),
  config: z.string().optional(),
  events: z.number(),
  hours: z.number(),
  seed: z.number(),
})
type Options = z.infer<typeof optionsSchema>

const incidents = ['none', 'nanRows', 'explodedWeights', 'invertedLabels'] as const
type Incident = (typeof incidents)[number]

const unguarded: Partial<GuardOptions> = {
  deviations: Number.MAX_VALUE,
  rowNormFactor: Number.MAX_VALUE,
  repeats: Number.MAX_SAFE_INTEGER,
}
const hourMs = 3_600_000
/** Rows of each table that turn to NaN, and what exploded weights are multiplied by. */
const brokenRows = 20
const explosion = 1000
const never = new AbortController().signal

type Outcome = {
  readonly [figure: string]: number | readonly string[]
  /** HR@10 in each stretch; during inverted labels it is of the inverted ones. */
  readonly hr10Before: number
  readonly hr10During: number
  readonly hr10After: number
  readonly trips: number
  readonly rollbacks: number
  /** Codes of warnings and errors, each once. */
  readonly reports: readonly string[]
}

/** The recording, and where the incident begins and ends in it. */
interface Story {
  readonly events: readonly Event[]
  readonly from: number
  readonly to: number
}

export async function run(
  given: Readonly<Record<string, unknown>>,
  progress: (line: string) => void,
): Promise<Record<string, Outcome>> {
  const options = optionsSchema.parse(given)
  const file = options.config ?? bundledConfig('news')
  const { config } = loadConfig({ file, environment: {}, overrides: [] })
  const story = await readStory(options, config)
  progress(`the incident is at events ${story.from} to ${story.to}`)
  const results: Record<string, Outcome> = {}
  for (const incident of incidents) {
    for (const isGuarded of incident === 'none' ? [true] : [true, false]) {
      const name = isGuarded ? incident : `${incident}Unguarded`
      const told = incident === 'invertedLabels' ? inverted(story, options.seed) : story
      results[name] = await suffer(told, config, { incident, isGuarded })
      progress(`${name}: ${JSON.stringify(results[name])}`)
    }
  }
  return results
}

async function readStory(
  { file, columns, events, hours }: Options,
  config: Config,
): Promise<Story> {
  const fields = { contextFields: contextFields(config) }
  const log = new RecordedLog({
    files: [file],
    ...fields,
    ...(columns !== undefined && { columns }),
  })
  try {
    const all: Event[] = []
    let position = await log.start()
    let to = Infinity
    while (all.length < to + events) {
      const batches = await log.read(position, { maxEvents: 10_000, waitMs: 0, signal: never })
      if (batches.length === 0) break
      for (const { events: found, partition, next } of batches) {
        all.push(...found)
        position = { [partition]: next }
      }
      if (all.length <= events || to < Infinity) continue
      const end = all[events].timestamp + hours * hourMs
      const at = all.findIndex(({ timestamp }, i) => i > events && timestamp >= end)
      if (at >= 0) to = at
    }
    const last = Math.min(to, all.length)
    return { events: all.slice(0, last + events), from: events, to: last }
  } finally {
    await log.close()
  }
}

/** Whoever did something did it with any other of the items seen so far. */
function inverted({ events, from, to }: Story, seed: number): Story {
  const random = seededRandom(seed)
  const items: string[] = []
  const seen = new Set<string>()
  const told = events.map((event, i) => {
    if (event.kind !== 'interaction') return event
    if (!seen.has(event.itemId)) items.push(event.itemId)
    seen.add(event.itemId)
    if (i < from || i >= to) return event
    return { ...event, itemId: items[random.integer(items.length)] }
  })
  return { events: told, from, to }
}

/** The story as a log. */
class StoryLog implements EventLogReader {
  readonly #events: readonly Event[]

  constructor({ events }: Story) {
    this.#events = events
  }

  read(from: Position, { maxEvents }: ReadOptions): Promise<readonly LogBatch[]> {
    const first = Number(from[0])
    const events = this.#events.slice(first, first + maxEvents)
    if (events.length === 0) return Promise.resolve([])
    const offsets = events.map((_, i) => String(first + i))
    return Promise.resolve([{ partition: 0, events, offsets, next: String(first + events.length) }])
  }

  start(): Promise<Position> {
    return Promise.resolve({ 0: '0' })
  }

  end(): Promise<Position> {
    return Promise.resolve({ 0: String(this.#events.length) })
  }

  compare(a: string, b: string): number {
    return Number(a) - Number(b)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

interface Trial {
  readonly incident: Incident
  readonly isGuarded: boolean
}

async function suffer(
  story: Story,
  config: Config,
  { incident, isGuarded }: Trial,
): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'freshet-guard-'))
  const reports = new Set<string>()
  const trainer = await Trainer.create({
    model: { ...trainerModel(config.model), ...(!isGuarded && { guard: unguarded }) },
    process: { ...trainerProcess(config), ...foldersIn(folder) },
    reader: new StoryLog(story),
    clock: systemClock,
    report: ({ code, level }) => void (level !== 'info' && reports.add(code)),
  })
  try {
    const hr10Before = await stretch(trainer, story.from)
    await cause(incident, trainer)
    const hr10During = await stretch(trainer, story.to)
    const hr10After = await stretch(trainer, story.events.length)
    const { trips, rollbacks } = trainer.learner.guard
    const figures = { hr10Before, hr10During, hr10After, trips, rollbacks }
    return { ...figures, reports: [...reports].toSorted() }
  } finally {
    await trainer.close()
    rmSync(folder, { recursive: true })
  }
}

const foldersIn = (folder: string) => {
  const { journal, checkpoints, quarantine } = dataPaths(folder)
  return {
    journalDirectory: journal,
    quarantineDirectory: quarantine,
    checkpoints: { directory: checkpoints, intervalMs: 2_000, keep: 3, fullEvery: 4 },
  }
}

/** Trains up to so many events of the story; HR@10 of those ranked on the way. */
async function stretch(trainer: Trainer, limitEvents: number): Promise<number> {
  const before = trainer.learner.evaluation().progressive
  await trainer.run({ signal: never, untilEnd: true, limitEvents })
  const after = trainer.learner.evaluation().progressive
  const evaluated = after.evaluated - before.evaluated
  const hits = Math.round(after.hr10 * after.evaluated - before.hr10 * before.evaluated)
  return hits / Math.max(1, evaluated)
}

async function cause(incident: Incident, { learner }: Trainer): Promise<void> {
  if (incident === 'explodedWeights') {
    const { model } = learner
    model.load(model.weights({ optimizerState: true }).map((weight) => explosion * weight))
  }
  if (incident !== 'nanRows') return
  const stamp = { time: learner.facts.time, version: learner.step }
  for (const table of learner.tables.values()) {
    for await (const { keys } of table.export()) {
      const some = keys.slice(0, 2 * brokenRows)
      const vectors = new Float32Array((some.length / 2) * table.spec.dim).fill(NaN)
      await table.assign(some, vectors, stamp)
      break
    }
  }
}
