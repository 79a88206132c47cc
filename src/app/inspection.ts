/**
 * Looks into a data directory without writing to it: checkpoints, log, tables, and single users
 * and items; in the distributed shape the log is the topic. A service may be running on it; what is
 * seen is its newest checkpoint and what the log has since.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

import { present } from '../base/assert.ts'
import { systemClock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import { keyCount } from '../base/keys.ts'
import type { TableSpec } from '../embedding/table-spec.ts'
import type { TableKeys } from '../model/two-tower.ts'
import type { EventLogReader, Position } from '../stream/event-log.ts'
import type { Event } from '../stream/event.ts'
import { segmentName } from '../stream/files/log-segment.ts'
import { listSegments, openFileLogReader } from '../stream/files/segment-reader.ts'
import { openKafkaLog } from '../stream/kafka/kafka-log.ts'
import type { Checkpoint } from '../trainer/checkpoint/checkpoint.ts'
import { FarRows } from '../trainer/far-rows.ts'
import { Learner } from '../trainer/learner.ts'
import type { Json, JsonObject } from './command.ts'
import type { Config } from './config/config-schema.ts'
import { kafkaSettings } from './config/servers-options.ts'
import { suggestion } from './nearest.ts'
import { checkpointStore, newestCheckpoint } from './newest-checkpoint.ts'
import { dataPaths, trainerModel, trainerProcess } from './options.ts'

const eventsPerRead = 4_096
const signal = new AbortController().signal

const isoTime = (ms: number): string | null =>
  Number.isFinite(ms) && ms > 0 ? new Date(ms).toISOString() : null

interface OpenCheckpoint {
  readonly checkpoint: Checkpoint
  readonly learner: Learner
  readonly close: () => Promise<void>
  /** Newer checkpoints that could not be read, and why. */
  readonly damaged: readonly string[]
  /** Folds what the log has beyond the checkpoint into the facts; nothing is learned. */
  readonly catchUp: () => Promise<void>
}

/** The newest good checkpoint of a data directory. Throws `CHECKPOINT_MISSING`. */
export async function openNewest(config: Config): Promise<OpenCheckpoint> {
  const directory = config.process.dataDirectory
  const { checkpoint, saved, damaged } = newestCheckpoint(directory)
  const { batch, evaluation, replay } = trainerModel(config.model)
  const farRows = await openFarRows(config, saved.tables)
  const learner = await Learner.create(
    { ...saved, batch, evaluation, ...(replay && { replay }) },
    { farRows },
  )
  learner.load((part) => checkpoint.chunks(part))
  const catchUp = async (): Promise<void> => {
    const log = await openLog(config)
    for await (const { event } of eventsOf(log, checkpoint.position)) learner.facts.apply(event)
    await log.close()
  }
  const close = async (): Promise<void> => {
    await learner.close()
    await farRows?.close()
  }
  return { checkpoint, learner, close, damaged, catchUp }
}

function openLog({ model, process }: Config): Promise<EventLogReader> {
  if (process.shape === 'embedded') {
    return openFileLogReader({ directory: dataPaths(process.dataDirectory).log })
  }
  const { giveUpMs } = process.kafka
  const { futureSkewMs: maxFutureMs } = model.facts
  return openKafkaLog({ ...kafkaSettings(process.kafka), giveUpMs, maxFutureMs })
}

/** Under a name of its own, so that a trainer at work is not shut out, and changing nothing. */
async function openFarRows(config: Config, tables: readonly TableSpec[]) {
  const { farRows: options, kernels } = trainerProcess(config)
  if (options === undefined) return undefined
  return FarRows.open({
    options: { ...options, redis: { ...options.redis, writer: 'inspector' } },
    tables,
    kernels,
    clock: systemClock,
    checkpoints: checkpointStore(config.process.dataDirectory),
    report: () => {},
  })
}

/** Everything that the log has from a position on, as it stands now. */
export async function* eventsOf(
  log: EventLogReader,
  from: Position,
): AsyncGenerator<{ event: Event; offset: string }> {
  const position: Record<number, string> = { ...from }
  for (;;) {
    const batches = await log.read(position, { maxEvents: eventsPerRead, waitMs: 0, signal })
    if (batches.every(({ events }) => events.length === 0)) return
    for (const { partition, events, offsets, next } of batches) {
      for (const [i, event] of events.entries()) yield { event, offset: offsets[i] }
      position[partition] = next
    }
  }
}

/** As JSON has it: what cannot be said there is left out. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const plain = (value: object): JsonObject => JSON.parse(JSON.stringify(value)) as JsonObject

/** Every checkpoint that is kept, and what the newest good one holds. */
export async function inspectCheckpoint(config: Config): Promise<JsonObject> {
  const store = checkpointStore(config.process.dataDirectory)
  const { checkpoint, learner, close, damaged } = await openNewest(config)
  try {
    const { catalogue, users, interactions } = learner.facts
    return {
      kept: store.sequences(),
      damaged,
      newest: checkpoint.sequence,
      createdAt: isoTime(checkpoint.createdAt),
      position: { ...checkpoint.position },
      bytes: checkpoint.bytes,
      steps: learner.step,
      examples: learner.trained,
      interactions,
      items: catalogue.size,
      users: users.size,
      tables: learner.tableStats().map(plain),
      stateDigest: await learner.digest(),
    }
  } finally {
    await close()
  }
}

/** Where the log starts and ends, how large it is, and some of its events. */
export async function inspectLog(
  { process }: Config,
  { from, limit }: { from: number | undefined; limit: number },
): Promise<JsonObject> {
  const path = dataPaths(process.dataDirectory).log
  const segments = await listSegments(path)
  const sizes = await Promise.all(segments.map((first) => stat(join(path, segmentName(first)))))
  const log = await openFileLogReader({ directory: path })
  try {
    const [start, end] = [await log.start(), await log.end()]
    const position = from === undefined ? start : { 0: String(from) }
    return {
      start: start[0] ?? null,
      end: end[0] ?? null,
      segments: segments.length,
      bytes: sizes.reduce((sum, { size }) => sum + size, 0),
      events: limit === 0 ? [] : await firstEvents(log, position, limit),
    }
  } finally {
    await log.close()
  }
}

async function firstEvents(log: EventLogReader, from: Position, limit: number): Promise<Json[]> {
  const listed: Json[] = []
  for await (const { event, offset } of eventsOf(log, from)) {
    listed.push({ offset, ...plain(event) })
    if (listed.length === limit) break
  }
  return listed
}

/** One table, or in it the rows that belong to one user or item alone. */
export async function inspectTable(
  config: Config,
  query: { table: string; itemId: string | undefined; userId: string | undefined },
): Promise<JsonObject> {
  const { learner, close } = await openNewest(config)
  try {
    const { table, itemId, userId } = query
    const stats = learner.tableStats().find(({ name }) => name === table)
    if (stats === undefined) {
      const reason = `no table "${table}"${suggestion(table, learner.tables.keys())}`
      throw new ServiceError('USAGE_INVALID', { what: 'inspect table', reason })
    }
    const rows = [
      ...(itemId === undefined ? [] : learner.model.itemRows(itemId)),
      ...(userId === undefined ? [] : learner.model.userRows(userId)),
    ]
    return { ...plain(stats), found: await rowsOf(learner, rows, table) }
  } finally {
    await close()
  }
}

/** Vectors of those keys that have a row. */
async function rowsOf(
  learner: Learner,
  wanted: readonly TableKeys[],
  table: string,
): Promise<readonly Json[]> {
  const rows = present(learner.tables.get(table), table)
  const found: Json[] = []
  for (const { keys } of wanted.filter((lookup) => lookup.table === table)) {
    const vectors = new Float32Array(keyCount(keys) * rows.spec.dim)
    const isPresent = new Uint8Array(keyCount(keys))
    await rows.find(keys, vectors, isPresent)
    for (const [i, bit] of isPresent.entries()) {
      found.push({
        key: new BigUint64Array(keys.slice(2 * i, 2 * i + 2).buffer)[0].toString(16),
        present: bit === 1,
        vector: [...vectors.subarray(i * rows.spec.dim, (i + 1) * rows.spec.dim)],
      })
    }
  }
  return found
}

/** What is known of an item now. Throws `ITEM_UNKNOWN`. */
export async function inspectItem(config: Config, itemId: string): Promise<JsonObject> {
  const { learner, close, catchUp } = await openNewest(config)
  try {
    await catchUp()
    const { catalogue, time } = learner.facts
    const item = catalogue.byId(itemId)
    if (item === undefined) throw new ServiceError('ITEM_UNKNOWN', { itemId })
    return {
      ...plain(item),
      firstSeenAt: isoTime(item.firstSeenAt),
      expiresAt: isoTime(item.expiresAt),
      interactions: catalogue.interactions(item.handle),
      lastTouchedAt: isoTime(catalogue.lastTouchedAt(item.handle)),
      decayedCount: catalogue.decayedCount(item.handle, time),
      active: catalogue.isActive(item.handle),
    }
  } finally {
    await close()
  }
}

/** What is known of a user now. Throws `USER_UNKNOWN`. */
export async function inspectUser(config: Config, userId: string): Promise<JsonObject> {
  const { learner, close, catchUp } = await openNewest(config)
  try {
    await catchUp()
    const { users } = learner.facts
    const handle = users.handleOf(userId)
    if (handle < 0) throw new ServiceError('USER_UNKNOWN', { userId })
    return {
      userId,
      features: plain(users.features(handle)),
      lastActiveAt: isoTime(users.lastActiveAt(handle)),
      seen: users.seen(handle).length,
      history: users.history(handle).map(({ item, timestamp, type }) => ({
        itemId: item.id,
        type,
        at: isoTime(timestamp),
      })),
    }
  } finally {
    await close()
  }
}
