/** One trainer at a time: a standby takes over soon, and for good. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { Shop } from '../../src/app/demo/shop.ts'
import { dataPaths } from '../../src/app/options.ts'
import { JournalTail } from '../../src/stream/files/journal-tail.ts'
import { syncNames } from '../../src/sync/redis/redis-names.ts'
import { journalPath } from '../../src/trainer/journal/trainer-journal.ts'
import { eventuallyWithin, Fleet, type Member } from '../support/fleet.ts'
import { makeTopic } from '../support/kafka-server.ts'
import { brokerAndRedis } from '../support/shared-servers.ts'

const started = brokerAndRedis()

const limitMs = 60_000
const eventually = eventuallyWithin(limitMs)
const deltas = syncNames('shop').deltas

async function open(...more: readonly string[]): Promise<Fleet> {
  await started().redis.command('FLUSHALL')
  const topic = await makeTopic(started().broker.address, 3)
  const url = `redis://127.0.0.1:${started().redis.port}`
  return new Fleet({ broker: started().broker.address, topic, redis: url }, more)
}

/** Events that it has folded; none while it is a standby. */
const eventsOf = async ({ client }: Member): Promise<number> =>
  (await client.metrics()).sum('freshet_trainer_events_total')

/** Clicks of a shop without a catalogue, to whoever takes them. */
class Clicks {
  readonly #shop = new Shop({ seed: 1, users: 50, items: 200 })
  readonly #door: Member
  sent = 0

  constructor(door: Member) {
    this.#door = door
  }

  async send(n: number): Promise<void> {
    const events = Array.from({ length: n }, () => this.#shop.next()).flatMap((event) =>
      event.kind === 'interaction'
        ? [{ kind: 'interaction', userId: event.userId, itemId: event.itemId, type: 'click' }]
        : [],
    )
    await this.#door.client.sendEvents(events)
    this.sent += events.length
  }

  /** Until told to stop: some, again and again. */
  async keepOn(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.send(50)
      await sleep(10)
    }
  }
}

/** Every file that a trainer starts from, by its contents and its place on the disk. */
function filesOf(fleet: Fleet): Readonly<Record<string, string>> {
  const { checkpoints, journal } = dataPaths(fleet.trainerDirectory)
  const found: Record<string, string> = {}
  for (const folder of [checkpoints, journal]) {
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      const path = join(folder, name)
      const { ino } = statSync(path)
      if (statSync(path).isDirectory()) found[path] = String(ino)
      else found[path] = `${ino} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`
    }
  }
  return found
}

/** The number of the journal's next entry; `from`: of one that it has. */
function nextEntry(fleet: Fleet, from: number): number {
  using tail = new JournalTail(journalPath(dataPaths(fleet.trainerDirectory).journal))
  return from + (tail.read({ sequence: from })?.length ?? Number.NaN)
}

const deltaIds = async (): Promise<readonly string[]> => {
  const entries = await started().redis.command('XRANGE', deltas, '-', '+')
  return Array.isArray(entries) ? entries.map((entry) => String(entry[0])) : []
}

test('a standby has done all that the active one has when that one dies, and learns on', async () => {
  await using fleet = await open(
    'process.trainer.leaseMs=3000',
    'process.checkpoints.intervalMs=86400000',
  )
  const door = await fleet.start('ingest', 'ingest,jobs')
  const clicks = new Clicks(door)
  const first = await fleet.start('trainer 1', 'trainer')
  const learned = async (): Promise<boolean> => (await eventsOf(first)) === clicks.sent
  await clicks.send(300)
  await eventually(fleet, 'learned', learned)
  const { result } = await door.client.runJob('checkpoint')
  await clicks.send(200)
  await eventually(fleet, 'more learned', learned)
  const standby = await fleet.start('trainer 2', 'trainer')
  await standby.client.waitUntilReady(limitMs)
  await first.end('SIGKILL')
  const next = nextEntry(fleet, Number(result?.['name']))
  await clicks.send(500)
  await eventually(fleet, 'taken over', async () => (await eventsOf(standby)) === clicks.sent)
  expect(standby.log.join('\n')).toContain(`had followed the journal to its entry ${next}`)
}, 120_000)

test('one that was paused past its lease writes nothing that anybody reads', async () => {
  await using fleet = await open(
    'process.checkpoints.intervalMs=300',
    'process.jobs.restrictMs=100',
    'model.tables.user.restrict={policy: timestamp, numReserved: 30, trigger: 40}',
  )
  const clicks = new Clicks(await fleet.start('ingest', 'ingest'))
  let active = await fleet.start('trainer 1', 'trainer')
  for (let round = 1; round <= 3; round += 1) {
    const stopping = new AbortController()
    const sending = clicks.keepOn(stopping.signal)
    const jobs = await fleet.start(`jobs ${round}`, 'jobs')
    const before = await eventsOf(active)
    await eventually(fleet, 'learning', async () => (await eventsOf(active)) > before + 100)
    const standby = await fleet.start(`trainer ${round + 1}`, 'trainer')
    await standby.client.waitUntilReady(limitMs)
    // In the middle of a batch, a command, a delta or a checkpoint: it does all of them all the time.
    active.pause()
    await eventually(fleet, 'taken over', async () => (await eventsOf(standby)) > 0)
    stopping.abort()
    await sending
    await jobs.end('SIGKILL')
    await eventually(fleet, 'learned', async () => (await eventsOf(standby)) === clicks.sent)
    await atRest(fleet)
    const [files, ids] = [filesOf(fleet), await deltaIds()]
    active.resume()
    expect(await active.exited).not.toBe(0)
    expect(active.log.join('\n')).toMatch(/LEASE_LOST|SYNC_FENCED/)
    expect(filesOf(fleet)).toEqual(files)
    expect(await deltaIds()).toEqual(ids)
    active = standby
  }
  expect(await active.end('SIGTERM')).toBe(0)
}, 240_000)

/** The active one has nothing to write any more. */
async function atRest(fleet: Fleet): Promise<void> {
  let last = ''
  await eventually(fleet, 'at rest', async () => {
    const before = last
    last = JSON.stringify([filesOf(fleet), await deltaIds()])
    await sleep(700)
    return before === last
  })
}
