import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import { ServiceError } from '../../src/base/errors.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { Event } from '../../src/stream/event.ts'
import type { Delta } from '../../src/sync/delta.ts'
import type { ParameterPublisher } from '../../src/sync/parameter-sync.ts'
import type { TrainerProcess } from '../../src/trainer/trainer-config.ts'
import { type RunOptions, Trainer, type TrainerOptions } from '../../src/trainer/trainer-loop.ts'
import type { TrainerReport } from '../../src/trainer/trainer-status.ts'
import { crashImage } from '../support/crash-image.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { MemoryLog, settings, shopEvents, textModel, trainerModel } from '../support/trainer.ts'

const never = new AbortController().signal

/** A trainer that disposes itself, with what it reported. */
const open = async (changes: Partial<TrainerOptions> & { log: MemoryLog; directory?: string }) => {
  const { log, directory, ...rest } = changes
  const reports: TrainerReport[] = []
  const trainer = await Trainer.create({
    model: trainerModel(),
    process: settings(directory),
    reader: log,
    clock: systemClock,
    report: (report) => reports.push(report),
    ...rest,
  })
  return { trainer, reports, [Symbol.asyncDispose]: () => trainer.close() }
}

const run = (trainer: Trainer, options: Partial<RunOptions> = {}): Promise<void> =>
  trainer.run({ signal: never, untilEnd: true, ...options })

/** Runs until `enough` says so, then stops it as a graceful stop would. */
async function runUntil(trainer: Trainer, enough: () => boolean): Promise<void> {
  const stop = new AbortController()
  const running = trainer.run({ signal: stop.signal })
  const deadline = systemClock.monotonic() + 10_000
  while (!enough() && systemClock.monotonic() < deadline) {
    await turn()
  }
  expect(enough()).toBe(true)
  stop.abort()
  await running
}

/** Digest of a run over the whole log that nothing interrupted. */
async function uninterrupted(events: readonly Event[]): Promise<string> {
  await using subject = await open({ log: new MemoryLog(events) })
  await run(subject.trainer)
  return subject.trainer.learner.digest()
}

/** A turn of the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Interactions to learn from: each once, none with an item that is deleted at the time. */
function learnable(events: readonly Event[]): number {
  const ids = new Set<string | undefined>()
  const gone = new Set<string>()
  let count = 0
  for (const event of events) {
    if (event.kind === 'deleteItem') gone.add(event.itemId)
    if (event.kind === 'item') gone.delete(event.itemId)
    if (event.kind !== 'interaction' || ids.has(event.eventId)) continue
    ids.add(event.eventId)
    if (!gone.has(event.itemId)) count += 1
  }
  return count
}

test('a replay folds everything, trains on every interaction and ends', async () => {
  const events = shopEvents(1000)
  await using subject = await open({ log: new MemoryLog(events) })
  await run(subject.trainer)
  const status = subject.trainer.status()
  expect(status).toMatchObject({
    events: 1000,
    examples: learnable(events),
    position: { 0: '1000' },
  })
  expect(status.evaluation.progressive.evaluated).toBeGreaterThan(100)
})

test('a limit counts events since the beginning of the log', async () => {
  await using subject = await open({ log: new MemoryLog(shopEvents(500)) })
  await run(subject.trainer, { limitEvents: 123 })
  expect(subject.trainer.status()).toMatchObject({ events: 123, position: { 0: '123' } })
})

test('without a journal the result does not depend on how the log hands out its events', async () => {
  const log = new MemoryLog(shopEvents(700))
  const digests = []
  for (const readMaxEvents of [1, 37, 10_000]) {
    await using subject = await open({ log, process: { ...settings(), readMaxEvents } })
    await run(subject.trainer)
    digests.push(await subject.trainer.learner.digest())
  }
  expect(new Set(digests).size).toBe(1)
})

test('a live run cuts batches by age, and its journal makes them again', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(400)
  const log = new MemoryLog()
  await using live = await open({
    log,
    directory: directory.path,
    model: trainerModel({ batch: { maxExamples: 16, maxAgeMs: 1 } }),
  })
  const random = seededRandom(2)
  using image = temporaryDirectory()
  await runUntil(live.trainer, () => {
    const { events: folded, pendingEvents } = live.trainer.status()
    const { length } = log.events
    // A few more, once a batch has been cut by age: however slow the machine, none is full.
    const isIdle = folded === length && pendingEvents === 0
    if (isIdle) log.events.push(...events.slice(length, length + 1 + random.integer(11)))
    const isDone = isIdle && length === 400
    if (isDone) crashImage(directory.path, image.path)
    return isDone
  })
  const { step } = live.trainer.learner
  expect(step).toBeGreaterThan(400 / 16)
  // The image was taken before the last checkpoint: from it, the journal alone makes the state again.
  await using again = await open({ log, directory: image.path })
  await run(again.trainer)
  expect(again.reports[0].code).toBe('startedFresh')
  expect(again.trainer.learner.step).toBe(step)
  expect(await again.trainer.learner.digest()).toBe(await live.trainer.learner.digest())
})

test('a replay killed anywhere ends in the state of one that was never killed', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(900)
  const expected = await uninterrupted(events)
  const log = new MemoryLog(events)
  const { journalDirectory: _, checkpoints, ...rest } = settings(directory.path)
  const process = { ...rest, checkpoints: { ...checkpoints!, intervalMs: 10 }, readMaxEvents: 20 }
  const images: string[] = []
  await using subject = await open({ log, process })
  const running = run(subject.trainer)
  for (let next = 0; subject.trainer.learner.facts.events < 900;) {
    await turn()
    if (subject.trainer.learner.facts.events < next) continue
    next += 97
    images.push(crashImage(directory.path, `${directory.path}-image-${images.length}`))
  }
  await running
  expect(await subject.trainer.learner.digest()).toBe(expected)
  for (const image of images) {
    const { checkpoints: from } = settings(image)
    await using again = await open({ log, process: { ...process, checkpoints: from! } })
    await run(again.trainer)
    expect(await again.trainer.learner.digest()).toBe(expected)
    rmSync(image, { recursive: true })
  }
  expect(images.length).toBeGreaterThan(5)
}, 30_000)

test('after any number of kills the state is that of the log and the journal', async () => {
  using root = temporaryDirectory()
  const events = shopEvents(800)
  const log = new MemoryLog()
  const random = seededRandom(5)
  const life = (n: number): string => join(root.path, String(n))
  const model = trainerModel({ batch: { maxExamples: 16, maxAgeMs: 2 } })
  // A checkpoint from before the first event is kept, and so the whole journal.
  const keepAll = (n: number): TrainerProcess => {
    const process = settings(life(n))
    return { ...process, checkpoints: { ...process.checkpoints!, keep: 1000 } }
  }
  const feeding = setInterval(() => {
    log.events.push(...events.slice(log.events.length, log.events.length + random.integer(20)))
  }, 1)
  let digest = ''
  for (let n = 0; n < 5; n += 1) {
    await using subject = await open({ log, process: keepAll(n), model })
    const command = subject.trainer.command({ kind: 'checkpoint' })
    const until = n === 4 ? 800 : 150 * (n + 1)
    await runUntil(subject.trainer, () => {
      const { events: folded, pendingEvents } = subject.trainer.status()
      const isDone = folded >= until && (n < 4 || pendingEvents === 0)
      if (isDone) crashImage(life(n), life(n + 1))
      return isDone
    })
    await command
    digest = await subject.trainer.learner.digest()
  }
  clearInterval(feeding)
  const checkpoints = join(life(5), 'checkpoints')
  for (const name of readdirSync(checkpoints)) {
    if (!name.endsWith('-000000000000')) rmSync(join(checkpoints, name), { recursive: true })
  }
  await using again = await open({ log, process: keepAll(5), model })
  expect(again.trainer.status().events).toBe(0)
  await run(again.trainer)
  expect(await again.trainer.learner.digest()).toBe(digest)
}, 30_000)

test('a restrict command is journaled and executed at the same place again', async () => {
  using directory = temporaryDirectory()
  using image = temporaryDirectory()
  const log = new MemoryLog(shopEvents(150))
  await using live = await open({ log, directory: directory.path })
  const result = live.trainer.command({
    kind: 'restrict',
    table: 'item',
    numReserved: 3,
    trigger: 3,
  })
  // Tables without a policy of their own are left alone.
  const other = live.trainer.command({ kind: 'restrict', numReserved: 10, trigger: 10 })
  await runUntil(live.trainer, () => {
    const { events, pendingEvents } = live.trainer.status()
    const isDone = events === 150 && pendingEvents === 0
    if (isDone) crashImage(directory.path, image.path)
    return isDone
  })
  expect(await result).toMatchObject({ kind: 'restrict', removed: 0 })
  expect(await other).toMatchObject({ kind: 'restrict' })
  await using again = await open({ log, directory: image.path })
  await run(again.trainer)
  expect(again.reports[0].code).toBe('startedFresh')
  expect(await again.trainer.learner.digest()).toBe(await live.trainer.learner.digest())
})

test.each([
  [{ kind: 'restrict', table: 'nowhere' }, /no table nowhere/],
  [{ kind: 'restrict', numReserved: -1 }, /whole number/],
  [{ kind: 'restrict', trigger: 1.5 }, /whole number/],
] as const)('a command that makes no sense is refused: %o', async (command, reason) => {
  await using subject = await open({ log: new MemoryLog(shopEvents(50)) })
  const result = subject.trainer.command(command).catch(String)
  await run(subject.trainer)
  expect(await result).toMatch(reason)
})

/** The code that a promise rejects with. */
const codeOf = (result: Promise<unknown>): Promise<unknown> =>
  result.then(String, (error: unknown) => error instanceof ServiceError && error.code)

test('a checkpoint without a directory, and commands to a closed trainer, are refused', async () => {
  const subject = await open({ log: new MemoryLog(shopEvents(50)) })
  const checkpoint = codeOf(subject.trainer.command({ kind: 'checkpoint' }))
  await run(subject.trainer)
  expect(await checkpoint).toBe('CHECKPOINT_FAILED')
  const waiting = codeOf(subject.trainer.command({ kind: 'checkpoint' }))
  await subject.trainer.close()
  expect(await waiting).toBe('TRAINER_STOPPED')
  await expect(subject.trainer.command({ kind: 'checkpoint' })).rejects.toMatchObject({
    code: 'TRAINER_STOPPED',
  })
})

test('an end leaves a checkpoint, and a start goes on from it', async () => {
  using directory = temporaryDirectory()
  const log = new MemoryLog(shopEvents(320))
  const first = await open({ log, directory: directory.path })
  await run(first.trainer)
  await first.trainer.close()
  await using second = await open({ log, directory: directory.path })
  expect(second.reports.map(({ code }) => code)).toEqual(['restored', 'engineChosen'])
  expect(second.trainer.status()).toMatchObject({ events: 320, retainFrom: { 0: '320' } })
  expect(await second.trainer.learner.digest()).toBe(await first.trainer.learner.digest())
})

test('a damaged checkpoint is reported and the one before it is taken, with the journal', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(600)
  const log = new MemoryLog(events.slice(0, 300))
  const first = await open({ log, directory: directory.path })
  await run(first.trainer)
  await first.trainer.close()
  log.events.push(...events.slice(300))
  const second = await open({ log, directory: directory.path })
  await run(second.trainer)
  await second.trainer.close()
  const checkpoints = join(directory.path, 'checkpoints')
  const newest = readdirSync(checkpoints).toSorted().at(-1)!
  writeFileSync(join(checkpoints, newest, 'weights'), 'nonsense')
  await using third = await open({ log, directory: directory.path })
  expect(third.reports.map(({ code }) => code)).toEqual([
    'checkpointDamaged',
    'restored',
    'engineChosen',
  ])
  expect(third.trainer.status().events).toBe(300)
  await run(third.trainer)
  expect(await third.trainer.learner.digest()).toBe(await second.trainer.learner.digest())
})

test('a checkpoint of another model is refused, and the error names what differs', async () => {
  using directory = temporaryDirectory()
  const log = new MemoryLog(shopEvents(100))
  const first = await open({ log, directory: directory.path })
  await run(first.trainer)
  await first.trainer.close()
  const model = trainerModel()
  const other = {
    ...model,
    spec: { ...model.spec, score: { ...model.spec.score, temperature: 0.2 } },
  }
  await expect(open({ log, directory: directory.path, model: other })).rejects.toMatchObject({
    code: 'CHECKPOINT_INCOMPATIBLE',
    details: { fields: 'spec.score.temperature' },
  })
  await expect(open({ log, directory: directory.path, model: textModel() })).rejects.toMatchObject({
    details: { fields: expect.stringMatching(/^(spec\.[\w.]+(, )?){10} and \d+ more$/) },
  })
})

test('a log that has lost its end is met at an older checkpoint, and the journal is cut', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(600)
  const log = new MemoryLog(events.slice(0, 200))
  const first = await open({ log, directory: directory.path })
  await run(first.trainer)
  await first.trainer.close()
  log.events.push(...events.slice(200, 400))
  const second = await open({ log, directory: directory.path })
  await run(second.trainer)
  await second.trainer.close()
  const shorter = new MemoryLog(events.slice(0, 300))
  await using third = await open({ log: shorter, directory: directory.path })
  await run(third.trainer)
  expect(third.reports.map(({ code }) => code)).toContain('journalAhead')
  expect(third.trainer.status().events).toBe(300)
})

test('a journal that is gone is reported and begun anew', async () => {
  using directory = temporaryDirectory()
  const log = new MemoryLog(shopEvents(200))
  const first = await open({ log, directory: directory.path })
  await run(first.trainer)
  await first.trainer.close()
  rmSync(join(directory.path, 'journal'), { recursive: true })
  await using second = await open({ log, directory: directory.path })
  await run(second.trainer)
  expect(second.reports.map(({ code }) => code)).toContain('journalGap')
})

test('a refused batch is kept with its reason and reported', async () => {
  using directory = temporaryDirectory()
  const events = shopEvents(200)
  const spoiled = events.map((event, i) =>
    i > 150 && event.kind === 'interaction'
      ? Object.assign({}, event, { weight: Infinity })
      : event,
  )
  await using subject = await open({ log: new MemoryLog(spoiled), directory: directory.path })
  await run(subject.trainer)
  expect(subject.reports.map(({ code }) => code)).toContain('batchQuarantined')
  expect(subject.trainer.status().guardTrips).toBeGreaterThan(0)
  const folder = join(directory.path, 'quarantine')
  await expect.poll(() => readdirSync(folder).length, { timeout: 5000 }).toBeGreaterThan(0)
  const [file] = readdirSync(folder)
  await expect.poll(() => readFileSync(join(folder, file), 'utf8').endsWith('\n')).toBe(true)
  const kept = JSON.parse(readFileSync(join(folder, file), 'utf8'))
  expect(kept.trip.reason).toBe('lossNotFinite')
  expect(kept.examples[0].userId).toMatch(/^user-/)
})

/** Applies deltas as a reader would, and asks for everything when it has nothing. */
class Reader implements ParameterPublisher {
  readonly rows = new Map<string, Map<string, readonly number[]>>()
  weights: readonly number[] = []
  sequence = 0
  deltas = 0
  #snapshot: () => Iterable<Delta> | AsyncIterable<Delta> = () => []

  async publish(delta: Delta): Promise<void> {
    this.deltas += 1
    if (delta.base === this.sequence) this.#apply(delta)
    else await this.resync()
  }

  async resync(): Promise<void> {
    this.rows.clear()
    for await (const delta of this.#snapshot()) this.#apply(delta)
  }

  onResync(snapshot: () => Iterable<Delta> | AsyncIterable<Delta>): void {
    this.#snapshot = snapshot
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #apply(delta: Delta): void {
    this.sequence = delta.sequence
    if (delta.weights) this.weights = [...delta.weights]
    for (const { table, dim, keys, vectors, removed } of delta.tables) {
      const rows = this.rows.get(table) ?? new Map<string, readonly number[]>()
      this.rows.set(table, rows)
      for (let i = 0; i < removed.length; i += 2) rows.delete(`${removed[i]},${removed[i + 1]}`)
      for (let i = 0; i < keys.length / 2; i += 1) {
        rows.set(
          `${keys[2 * i]},${keys[2 * i + 1]}`,
          Array.from(vectors.subarray(i * dim, i * dim + dim)),
        )
      }
    }
  }
}

test('who follows the deltas has the rows and weights of the trainer, removals included', async () => {
  const follower = new Reader()
  const log = new MemoryLog(shopEvents(1500))
  await using subject = await open({ log, publisher: follower })
  await run(subject.trainer)
  const whole = new Reader()
  whole.onResync(() => [])
  const { learner } = subject.trainer
  expect(follower.deltas).toBeGreaterThan(1)
  expect(follower.weights).toEqual([...learner.model.weights()])
  for (const [name, table] of learner.tables) {
    const expected = new Map<string, readonly number[]>()
    for await (const { keys, vectors } of table.export()) {
      const { dim } = table.spec
      for (let i = 0; i < keys.length / 2; i += 1) {
        const key = `${keys[2 * i]},${keys[2 * i + 1]}`
        expected.set(key, Array.from(vectors.subarray(i * dim, i * dim + dim)))
      }
    }
    expect(follower.rows.get(name)).toEqual(expected)
  }
  const before = new Map(follower.rows)
  await follower.resync()
  expect(follower.rows).toEqual(before)
})

/** A reader that takes each delta when it is told to. */
class SlowReader implements ParameterPublisher {
  readonly reader = new Reader()
  sent = 0
  onFirst: () => void = () => {}
  readonly #arrivals: PromiseWithResolvers<void>[] = []

  async publish(delta: Delta): Promise<void> {
    this.sent += 1
    if (this.sent === 1) this.onFirst()
    const arrival = Promise.withResolvers<void>()
    this.#arrivals.push(arrival)
    await arrival.promise
    await this.reader.publish(delta)
  }

  take(): void {
    this.#arrivals.shift()?.resolve()
  }

  refuse(error: Error): void {
    this.#arrivals.shift()?.reject(error)
  }

  onResync(snapshot: () => Iterable<Delta> | AsyncIterable<Delta>): void {
    this.reader.onResync(snapshot)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

test('batches go on while a delta is on its way; the next delta and the end wait for it', async () => {
  const publisher = new SlowReader()
  const events = shopEvents(1500)
  // Due at once, however fast the machine is.
  const process = { ...settings(), deltaIntervalMs: 1 }
  await using subject = await open({ log: new MemoryLog(events), publisher, process })
  const { trainer } = subject
  let step = Infinity
  publisher.onFirst = () => (step = trainer.learner.step)
  const running = run(trainer)
  await expect.poll(() => trainer.learner.step > step).toBe(true)
  for (let i = 0; i < 10; i += 1) await turn()
  expect(publisher.sent).toBe(1)
  const ended = running.then(() => true)
  while (!(await Promise.race([ended, turn().then(() => false)]))) publisher.take()
  expect(publisher.sent).toBeGreaterThan(1)
  expect(trainer.status().events).toBe(events.length)
  expect(publisher.reader.sequence).toBe(trainer.status().deltaSequence)
  expect(publisher.reader.weights).toEqual([...trainer.learner.model.weights()])
})

test('a trainer whose delta is refused ends, also when it has nothing more to learn', async () => {
  const publisher = new SlowReader()
  await using subject = await open({ log: new MemoryLog(shopEvents(20)), publisher })
  const running = subject.trainer.run({ signal: never })
  const refused = new ServiceError('SYNC_FENCED', { model: 'shop', epoch: 1 })
  await expect.poll(() => publisher.sent).toBe(1)
  publisher.refuse(refused)
  await expect(running).rejects.toBe(refused)
})
