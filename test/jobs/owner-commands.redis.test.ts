import { setTimeout as sleep } from 'node:timers/promises'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import { ServiceError } from '../../src/base/errors.ts'
import { type CommandChannel, CommandStore } from '../../src/jobs/command-channel.ts'
import {
  type Command,
  CommandClient,
  type CommandLimits,
  CommandServer,
  type CommandServerOptions,
} from '../../src/jobs/owner-commands.ts'
import { connectRedis } from '../../src/redis/redis-connection.ts'
import { RedisServer } from '../support/redis-server.ts'

let server: RedisServer
let tags = 0

beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

function freshChannel(): CommandChannel {
  tags += 1
  return { redis: server.settings, tag: `test-${tags}`, owner: 'trainer' }
}

function client(channel: CommandChannel, limits: Partial<CommandLimits> = {}) {
  const asking = new CommandClient({ channel, clock: systemClock, limits })
  return Object.assign(asking, { [Symbol.dispose]: () => asking.close() })
}

async function owner(channel: CommandChannel, options: Partial<CommandServerOptions> = {}) {
  const executed: Command[] = []
  const serving = new CommandServer({
    channel,
    execute: (command) => {
      executed.push(command)
      return Promise.resolve({ done: command.kind, times: executed.length })
    },
    ...options,
  })
  await serving.start()
  const end = async (): Promise<void> => {
    await serving.drain()
    await serving.stop()
  }
  return Object.assign(serving, { executed, [Symbol.asyncDispose]: end })
}

test('a command is executed by its owner and answered with the result', async () => {
  const channel = freshChannel()
  await using serving = await owner(channel)
  using asking = client(channel)
  const result = await asking.ask({ kind: 'restrict', table: 'items' }, { id: 'a' })
  expect(result).toEqual({ done: 'restrict', times: 1 })
  expect(serving.executed).toEqual([{ kind: 'restrict', table: 'items' }])
})

test('a command is executed once, however often it is asked under its id', async () => {
  const channel = freshChannel()
  await using serving = await owner(channel)
  using first = client(channel)
  using second = client(channel)
  const command = { kind: 'checkpoint' }
  const answers = await Promise.all([
    first.ask(command, { id: 'a' }),
    second.ask(command, { id: 'a' }),
    first.ask(command, { id: 'a' }),
  ])
  answers.push(await second.ask(command, { id: 'a' }))
  expect(new Set(answers.map((answer) => answer['times']))).toEqual(new Set([1]))
  expect(serving.executed).toHaveLength(1)
})

test('of two owners one executes', async () => {
  const channel = freshChannel()
  await using first = await owner(channel)
  await using second = await owner(channel)
  using asking = client(channel)
  const ids = ['a', 'b', 'c', 'd', 'e', 'f']
  await Promise.all(ids.map((id) => asking.ask({ kind: 'checkpoint' }, { id })))
  expect(first.executed.length + second.executed.length).toBe(ids.length)
})

test('a process that is not the owner leaves commands to the one that is', async () => {
  const channel = freshChannel()
  await using standby = await owner(channel, { isOwner: () => false })
  await using active = await owner(channel)
  using asking = client(channel)
  await asking.ask({ kind: 'checkpoint' }, { id: 'a' })
  expect(standby.executed).toHaveLength(0)
  expect(active.executed).toHaveLength(1)
})

test('an error keeps its code and details', async () => {
  const channel = freshChannel()
  const error = new ServiceError('RESTRICT_INVALID', { argument: 'trigger', value: -1 })
  await using _ = await owner(channel, { execute: () => Promise.reject(error) })
  using asking = client(channel)
  await expect(asking.ask({ kind: 'restrict' }, { id: 'a' })).rejects.toMatchObject({
    code: 'RESTRICT_INVALID',
    details: { argument: 'trigger', value: -1 },
  })
})

test('what nobody has begun in time is refused, and never begun', async () => {
  const channel = freshChannel()
  using asking = client(channel, { beginMs: 200 })
  const asked = asking.ask({ kind: 'restrict' }, { id: 'a' })
  await expect(asked).rejects.toMatchObject({
    code: 'COMMAND_UNANSWERED',
    details: { command: 'restrict', reason: 'its owner has not begun it' },
  })
  await using late = await owner(channel)
  await sleep(300)
  expect(late.executed).toHaveLength(0)
  // Asked again it is a new try under the old id.
  using again = client(channel)
  expect(await again.ask({ kind: 'restrict' }, { id: 'a' })).toMatchObject({ times: 1 })
})

test('what takes too long is refused, and its answer is there later', async () => {
  const channel = freshChannel()
  const gate = Promise.withResolvers<void>()
  const execute = () => gate.promise.then(() => ({ ok: true }))
  await using _ = await owner(channel, { execute })
  using asking = client(channel, { limitMs: 300 })
  const asked = asking.ask({ kind: 'restrict' }, { id: 'a' })
  await expect(asked).rejects.toMatchObject({ code: 'COMMAND_UNANSWERED' })
  gate.resolve()
  using again = client(channel)
  expect(await again.ask({ kind: 'restrict' }, { id: 'a' })).toEqual({ ok: true })
})

test('what a lost owner had begun is executed by the next', async () => {
  const channel = freshChannel()
  const connection = connectRedis(channel.redis)
  await connection.connected(AbortSignal.timeout(5_000))
  const store = new CommandStore(connection, channel)
  await store.ask('a', JSON.stringify({ kind: 'checkpoint' }), 10_000)
  const [entry] = await store.waiting()
  expect(await store.claim(entry, 'lost')).toBe(true)
  await using next = await owner(channel)
  await sleep(200)
  expect(next.executed).toHaveLength(0)
  // As when the claim was not renewed in time.
  const [claim] = (await server.command('KEYS', `*${channel.tag}*claim*`)) as string[]
  await server.command('DEL', claim ?? '')
  using asking = client(channel)
  expect(await asking.ask({ kind: 'checkpoint' }, { id: 'a' })).toMatchObject({ times: 1 })
  // The owner that was only slow comes too late.
  await store.answer(entry, 'lost', JSON.stringify({ result: { times: 7 } }))
  expect(await asking.ask({ kind: 'checkpoint' }, { id: 'a' })).toMatchObject({ times: 1 })
  connection.close()
})

test('a command waits for Redis to come back', async () => {
  await using own = await RedisServer.start()
  const channel = { redis: own.settings, tag: 'restarted', owner: 'trainer' }
  await using serving = await owner(channel)
  using asking = client(channel)
  await asking.ask({ kind: 'checkpoint' }, { id: 'a' })
  await own.kill()
  const asked = asking.ask({ kind: 'checkpoint' }, { id: 'b' })
  await sleep(300)
  await own.start()
  expect(await asked).toMatchObject({ times: 2 })
  expect(serving.executed).toHaveLength(2)
})

test('who asks is told how far the owner is', async () => {
  const channel = freshChannel()
  const gate = Promise.withResolvers<void>()
  await using _ = await owner(channel, {
    async execute(_command, { run, progress }) {
      progress(0.25)
      await gate.promise
      return { run }
    },
  })
  using asking = client(channel)
  const told: number[] = []
  const asked = asking.ask({ kind: 'restrict' }, { id: 'a', progress: (done) => told.push(done) })
  await expect.poll(() => told, { timeout: 10_000 }).toEqual([0.25])
  gate.resolve()
  expect(await asked).toEqual({ run: 'a' })
})

test('a failure that may pass is no last word: asked again, it is a new try', async () => {
  const channel = freshChannel()
  let tries = 0
  const execute = () => {
    tries += 1
    if (tries > 1) return Promise.resolve({ tries })
    return Promise.reject(new ServiceError('TRAINER_STOPPED', {}))
  }
  await using _ = await owner(channel, { execute })
  using asking = client(channel)
  const first = asking.ask({ kind: 'checkpoint' }, { id: 'a' })
  await expect(first).rejects.toMatchObject({ code: 'TRAINER_STOPPED' })
  expect(await asking.ask({ kind: 'checkpoint' }, { id: 'a' })).toEqual({ tries: 2 })
  expect(await asking.ask({ kind: 'checkpoint' }, { id: 'a' })).toEqual({ tries: 2 })
})

test('one client asks any owner, and what nobody takes does not stay for ever', async () => {
  const channel = freshChannel()
  await using _ = await owner({ ...channel, owner: 'replica:b' })
  using asking = client(channel)
  const taken = asking.ask({ kind: 'audit' }, { id: 'a', owner: 'replica:b' })
  expect(await taken).toMatchObject({ done: 'audit' })
  using hurried = client(channel, { beginMs: 200 })
  const lost = hurried.ask({ kind: 'audit' }, { id: 'a', owner: 'replica:gone' })
  await expect(lost).rejects.toMatchObject({ code: 'COMMAND_UNANSWERED' })
  const [left] = (await server.command('KEYS', `*${channel.tag}*replica:gone`)) as string[]
  expect(await server.command('PTTL', left ?? '')).toBeGreaterThan(0)
})
