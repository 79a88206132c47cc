/**
 * What is true after a run of the crash test. The log is read as it lies on disk; the state that the
 * service saved last is compared with that of a second trainer which reads the same log and the same
 * batch journal from their beginnings and is never killed.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Config } from '../../src/app/config/config-schema.ts'
import { dataPaths, trainerModel, trainerProcess } from '../../src/app/options.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { EventLogReader } from '../../src/stream/event-log.ts'
import type { Event } from '../../src/stream/event.ts'
import { Facts } from '../../src/stream/facts/facts.ts'
import { openFileLogReader } from '../../src/stream/files/segment-reader.ts'
import { CheckpointStore } from '../../src/trainer/checkpoint/checkpoint.ts'
import { Learner } from '../../src/trainer/learner.ts'
import { Trainer } from '../../src/trainer/trainer-loop.ts'

const { signal } = new AbortController()
const eventsPerRead = 4_096

export interface LogVerdict {
  /** Acknowledged, but not in the log. */
  readonly lost: number
  /** Interactions that the facts count more often than there are ids. */
  readonly doubled: number
  readonly events: number
  /** What the log says of an item at its end. */
  readonly isKnown: (itemId: string) => boolean
}

/** Folds the log once and compares it with what was acknowledged. */
export async function judgeLog(
  dataDirectory: string,
  acknowledged: ReadonlySet<string>,
  config: Config,
): Promise<LogVerdict> {
  const reader = await openFileLogReader({ directory: dataPaths(dataDirectory).log })
  const facts = new Facts(trainerModel(config.model).facts)
  const found = new Set<string>()
  const interactions = new Set<string>()
  for await (const event of eventsOf(reader)) {
    facts.apply(event)
    const eventId = event.eventId ?? ''
    found.add(eventId)
    if (event.kind === 'interaction') interactions.add(eventId)
  }
  await reader.close()
  const lost = [...acknowledged].filter((eventId) => !found.has(eventId)).length
  const doubled = facts.interactions - interactions.size
  const isKnown = (itemId: string): boolean => facts.catalogue.byId(itemId) !== undefined
  return { lost, doubled, events: facts.events, isKnown }
}

async function* eventsOf(reader: EventLogReader): AsyncGenerator<Event> {
  let position = await reader.start()
  for (;;) {
    const [batch] = await reader.read(position, { maxEvents: eventsPerRead, waitMs: 0, signal })
    if (batch === undefined || batch.events.length === 0) return
    yield* batch.events
    position = { [batch.partition]: batch.next }
  }
}

export interface State {
  readonly digest: string
  readonly events: number
  readonly examples: number
  readonly tables: readonly { readonly name: string; readonly digest: bigint }[]
}

const stateOf = async (learner: Learner): Promise<State> => ({
  digest: await learner.digest(),
  events: learner.facts.events,
  examples: learner.trained,
  tables: await Promise.all(
    [...learner.tables].map(async ([name, table]) => ({ name, digest: await table.digest() })),
  ),
})

/** The state in the newest checkpoint. */
export async function savedState(dataDirectory: string, config: Config): Promise<State> {
  const directory = dataPaths(dataDirectory).checkpoints
  const problems: string[] = []
  const store = new CheckpointStore({ directory, keep: Infinity })
  const checkpoint = store.newest(({ reason }) => problems.push(reason))
  if (checkpoint === undefined) throw new Error(`no checkpoint: ${problems.join(', ')}`)
  const learner = await Learner.create(trainerModel(config.model))
  try {
    learner.load((part) => checkpoint.chunks(part))
    return await stateOf(learner)
  } finally {
    await learner.close()
  }
}

/** The state of a trainer that reads the same log and journal and was never killed. */
export async function replayedState(dataDirectory: string, config: Config): Promise<State> {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-replay-'))
  const reader = await openFileLogReader({ directory: dataPaths(dataDirectory).log })
  try {
    cpSync(dataPaths(dataDirectory).journal, dataPaths(directory).journal, { recursive: true })
    const { checkpoints: _, ...process } = trainerProcess({
      ...config,
      process: { ...config.process, dataDirectory: directory },
    })
    const model = trainerModel(config.model)
    const trainer = await Trainer.create({ model, process, reader, clock: systemClock })
    await trainer.run({ signal, untilEnd: true })
    const state = await stateOf(trainer.learner)
    await trainer.close()
    return state
  } finally {
    await reader.close()
    rmSync(directory, { recursive: true, force: true })
  }
}
