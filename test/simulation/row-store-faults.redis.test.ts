/**
 * Training goes on through the faults of the servers that hold its rows, and of itself: at the end
 * every row, weight and fact is that of a run in memory that nothing disturbed.
 */
import { execFile } from 'node:child_process'
import { readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { expect, test } from 'vitest'

import type { RedisSettings } from '../../src/redis/redis-connection.ts'
import type { Event } from '../../src/stream/event.ts'
import {
  digestInMemory,
  far,
  openTrainer,
  wideEvents,
  wideRows,
  withCheckpoints,
} from '../support/far-trainer.ts'
import {
  clusterReady,
  RedisServer,
  startCluster,
  startSentinel,
  until,
} from '../support/redis-server.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { MemoryLog } from '../support/trainer.ts'
import type { FarTrainerTask } from './far-trainer-process.ts'

const events = wideEvents(2400)
const expected = digestInMemory(events)

/** Events come by and by, so that faults happen under load; the end is an end for the trainer. */
class FedLog extends MemoryLog {
  readonly #all: readonly Event[]

  constructor(all: readonly Event[]) {
    super()
    this.#all = all
  }

  feed(count: number): void {
    this.events.push(...this.#all.slice(this.events.length, this.events.length + count))
  }

  get isDone(): boolean {
    return this.events.length === this.#all.length
  }

  override async read(...[from, options]: Parameters<MemoryLog['read']>) {
    while (Number(from[0]) >= this.events.length && !this.isDone) await sleep(2)
    return super.read(from, options)
  }
}

/** Trains while `fault` happens; the codes that were reported, each once. */
async function trainThrough(
  connection: RedisSettings,
  fault: (halfway: (share: number) => Promise<void>) => Promise<void>,
): Promise<ReadonlySet<string>> {
  using directory = temporaryDirectory()
  const log = new FedLog(events)
  const process = { ...withCheckpoints(directory.path, 100), ...far(wideRows, connection) }
  await using subject = await openTrainer({ reader: log, process })
  const running = subject.runToEnd()
  let share = 0
  const feeding = setInterval(() => {
    if (log.events.length < share * events.length) log.feed(20)
  }, 5)
  const reached = (part: number): Promise<void> => {
    share = part
    const enough = part * events.length * 0.9
    return until('so many events', () => subject.trainer.learner.facts.events >= enough)
  }
  // A trainer that has failed says why.
  const unlessOver = (work: Promise<void>): Promise<void> => Promise.race([work, running])
  try {
    await unlessOver(reached(0.3))
    // What comes during the fault.
    share = 0.8
    await unlessOver(fault(reached))
    share = 1
    await running
    expect(await subject.trainer.learner.digest()).toBe(await expected)
    for (const { tier } of subject.trainer.status().tables) {
      expect(tier?.fetched ?? Infinity).toBeGreaterThan(50)
      expect(tier?.flushes ?? Infinity).toBeGreaterThan(3)
    }
    return new Set(subject.reports.map(({ code }) => code))
  } finally {
    clearInterval(feeding)
  }
}

/** A power cut: what the disk had not yet is gone, too. */
function cutAppendOnlyFile({ directory }: RedisServer, bytes: number): void {
  const files = join(directory, 'appendonlydir')
  const log = readdirSync(files).find((name) => name.endsWith('.incr.aof')) ?? ''
  const path = join(files, log)
  truncateSync(path, Math.max(0, statSync(path).size - bytes))
}

test('Redis is killed under load and started again, its last writes lost', async () => {
  await using server = await RedisServer.start({
    appendOnly: true,
    config: ['appendfsync everysec', 'aof-load-truncated yes', 'auto-aof-rewrite-percentage 0'],
  })
  const codes = await trainThrough(server.settings, async (reached) => {
    await server.kill()
    await sleep(300)
    await server.start()
    await reached(0.6)
    await server.kill()
    cutAppendOnlyFile(server, 100_000)
    await server.start()
  })
  expect([...codes]).toEqual(expect.arrayContaining(['rowStoreWaiting', 'rowStoreBack']))
  expect([...codes]).toEqual(expect.arrayContaining(['rowStoreWentBack', 'rowStoreRedone']))
}, 60_000)

test('Redis does not answer for ten seconds', async () => {
  await using server = await RedisServer.start()
  const codes = await trainThrough(server.settings, async () => {
    await server.command('CLIENT', 'PAUSE', 10_000, 'ALL')
    await sleep(10_000)
  })
  expect(codes).toContain('rowStoreWaiting')
  expect(codes).toContain('rowStoreBack')
  expect(codes).not.toContain('rowStoreWentBack')
}, 60_000)

test('the master is lost and Sentinel makes a replica master that was behind', async () => {
  await using group = await startSentinel({ appendOnly: false })
  const codes = await trainThrough(group.settings, async () => {
    // The replica stops taking part in replication, unnoticed by the trainer, and the master dies.
    await group.replica.command('CLIENT', 'KILL', 'TYPE', 'master')
    await group.master.kill()
    await until('another master', async () => {
      const role = await group.replica.command('ROLE')
      return Array.isArray(role) && String(role[0]) === 'master'
    })
  })
  expect(codes).toContain('rowStoreWaiting')
  expect(codes).toContain('rowStoreBack')
}, 60_000)

test('a node of the cluster is lost and comes back', async () => {
  await using cluster = await startCluster({ appendOnly: true })
  const codes = await trainThrough(cluster.settings, async () => {
    const [, node] = cluster.servers
    await node.kill()
    await sleep(1000)
    await node.start()
    await clusterReady(node, 3)
  })
  expect(codes).toContain('rowStoreWaiting')
  expect(codes).toContain('rowStoreBack')
}, 60_000)

const program = fileURLToPath(new URL('far-trainer-process.ts', import.meta.url))

interface End {
  readonly digest: string
  readonly codes: readonly string[]
}

/** One life of a trainer: how it ended, or the signal that killed it. */
async function life(task: FarTrainerTask): Promise<End | string> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [program, JSON.stringify(task)])
    return JSON.parse(stdout) as End
  } catch (error) {
    return (error as { signal?: string }).signal ?? String(error)
  }
}

test('the trainer is killed in the middle of flushes', async () => {
  await using server = await RedisServer.start()
  using directory = temporaryDirectory()
  const task = { directory: directory.path, connection: server.settings, events: events.length }
  for (const dieAtWrite of [1, 5, 9]) expect(await life({ ...task, dieAtWrite })).toBe('SIGKILL')
  expect(await life({ ...task, dieAtWrite: 0 })).toMatchObject({
    digest: await expected,
    codes: expect.arrayContaining(['restored', 'rowStoreRedone']) as string[],
  })
}, 60_000)
