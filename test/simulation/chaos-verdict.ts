/**
 * What is true after a run of the crash test. The log is read as it lies there; the state that the
 * service saved last is compared with that of a second trainer which reads the same log and the
 * same batch journal from their beginnings and is never killed.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Config } from '../../src/app/config/config-schema.ts'
import { dataPaths, trainerModel, trainerProcess } from '../../src/app/options.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { EventLogReader } from '../../src/stream/event-log.ts'
import type { Event } from '../../src/stream/event.ts'
import { Facts } from '../../src/stream/facts/facts.ts'
import { CheckpointStore } from '../../src/trainer/checkpoint/checkpoint.ts'
import { Learner } from '../../src/trainer/learner.ts'
import { Trainer } from '../../src/trainer/trainer-loop.ts'
import { rowsOf } from '../support/replica-holdings.ts'

const { signal } = new AbortController()
const eventsPerRead = 4_096
const readWaitMs = 100

export interface LogVerdict {
  /** Acknowledged, but not in the log. */
  readonly lost: number
  /** Interactions that the facts count more often than there are ids. */
  readonly doubled: number
  readonly events: number
  /** Different interactions. */
  readonly interactions: number
  /** What the log says of an item at its end. */
  readonly isKnown: (itemId: string) => boolean
}

/** Folds the log once and compares it with what was acknowledged. */
export async function judgeLog(
  reader: EventLogReader,
  acknowledged: ReadonlySet<string>,
  config: Config,
): Promise<LogVerdict> {
  const facts = new Facts(trainerModel(config.model).facts)
  const found = new Set<string>()
  const interactions = new Set<string>()
  for await (const event of eventsOf(reader)) {
    facts.apply(event)
    const eventId = event.eventId ?? ''
    found.add(eventId)
    if (event.kind === 'interaction') interactions.add(eventId)
  }
  const lost = [...acknowledged].filter((eventId) => !found.has(eventId)).length
  const doubled = facts.interactions - interactions.size
  const isKnown = (itemId: string): boolean => facts.catalogue.byId(itemId) !== undefined
  return { lost, doubled, events: facts.events, interactions: interactions.size, isKnown }
}

async function* eventsOf(reader: EventLogReader): AsyncGenerator<Event> {
  const end = Object.entries(await reader.end())
  const position: Record<number, string> = { ...(await reader.start()) }
  const isBefore = ([partition, offset]: [string, string]): boolean =>
    reader.compare(position[Number(partition)] ?? '', offset) < 0
  while (end.some(isBefore)) {
    const options = { maxEvents: eventsPerRead, waitMs: readWaitMs, signal }
    for (const { partition, events, next } of await reader.read(position, options)) {
      yield* events
      position[partition] = next
    }
  }
}

export interface State {
  readonly digest: string
  readonly events: number
  readonly examples: number
  readonly interactions: number
  readonly tables: readonly { readonly name: string; readonly digest: bigint }[]
  /** Vectors, by table and key. */
  readonly rows: ReadonlyMap<string, string>
}

const stateOf = async (learner: Learner): Promise<State> => ({
  digest: await learner.digest(),
  events: learner.facts.events,
  interactions: learner.facts.interactions,
  examples: learner.trained,
  tables: await Promise.all(
    [...learner.tables].map(async ([name, table]) => ({ name, digest: await table.digest() })),
  ),
  rows: await rowsOf(learner.tables),
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

/**
 * The state of a trainer that was never killed: it starts from the oldest checkpoint, made before
 * the first event, and reads the same log and journal.
 */
export async function replayedState(
  reader: EventLogReader,
  dataDirectory: string,
  config: Config,
): Promise<State> {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-replay-'))
  try {
    const [from, to] = [dataPaths(dataDirectory), dataPaths(directory)]
    cpSync(from.journal, to.journal, { recursive: true })
    const [oldest = ''] = readdirSync(from.checkpoints).toSorted()
    cpSync(join(from.checkpoints, oldest), join(to.checkpoints, oldest), { recursive: true })
    const process = trainerProcess({
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
    rmSync(directory, { recursive: true, force: true })
  }
}
