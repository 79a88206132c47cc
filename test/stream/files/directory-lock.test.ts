import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect, test } from 'vitest'

import { lockDirectory } from '../../../src/stream/files/directory-lock.ts'
import { FileLog } from '../../../src/stream/files/file-log.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const locked = expect.objectContaining({ code: 'LOG_LOCKED' })
const failure = (action: () => unknown): unknown => {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

test('a second lock in the same process is refused, until the first is released', () => {
  using directory = temporaryDirectory()
  const lock = lockDirectory(directory.path)
  const error = failure(() => lockDirectory(directory.path))
  expect(error).toEqual(locked)
  expect(error).toMatchObject({ details: { pid: process.pid, host: hostname() } })
  lock.release()
  lock.release()
  lockDirectory(directory.path).release()
  expect(readdirSync(directory.path)).toEqual([])
})

test('a second process is refused while the first lives, not when it was killed', async () => {
  using directory = temporaryDirectory()
  const script = fileURLToPath(new URL('../../support/lock-holder.ts', import.meta.url))
  const holder = spawn(process.execPath, [script, directory.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  const open = () => FileLog.open({ directory: directory.path, fsync: 'never' })
  await expect(open()).rejects.toMatchObject({ code: 'LOG_LOCKED', details: { pid: holder.pid } })
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  expect(existsSync(join(directory.path, 'lock'))).toBe(true)
  const log = await open()
  expect(await log.end()).toEqual({ 0: '3' })
  await log.close()
})

/** The owner file of this process, changed. */
const owner = (path: string, changes: object): string => {
  const lock = lockDirectory(path)
  const own = JSON.parse(readFileSync(join(path, 'lock'), 'utf8'))
  lock.release()
  return JSON.stringify({ ...own, token: 'another', ...changes })
}

test.each([
  ['of a process that is gone', { pid: 4_000_000 }],
  ['of an earlier process with the same pid', { start: '1' }],
  ['of before the machine was started', { boot: 'earlier' }],
])('a lock %s is taken over', (_, changes) => {
  using directory = temporaryDirectory()
  writeFileSync(join(directory.path, 'lock'), owner(directory.path, changes))
  lockDirectory(directory.path).release()
  expect(readdirSync(directory.path)).toEqual([])
})

test('a lock of another machine is not taken over', () => {
  using directory = temporaryDirectory()
  writeFileSync(join(directory.path, 'lock'), owner(directory.path, { host: 'elsewhere' }))
  expect(failure(() => lockDirectory(directory.path))).toMatchObject({
    code: 'LOG_LOCKED',
    details: { host: 'elsewhere' },
  })
})

test('a lock file with nothing readable in it is taken over', () => {
  for (const content of ['', '{', 'null', '{"pid":"x"}', '{"pid":-1,"token":"a","host":"b"}']) {
    using directory = temporaryDirectory()
    writeFileSync(join(directory.path, 'lock'), content)
    lockDirectory(directory.path).release()
    expect(readdirSync(directory.path)).toEqual([])
  }
})

test('while another process takes a stale lock over, this one is refused', () => {
  using directory = temporaryDirectory()
  const stale = owner(directory.path, { pid: 4_000_000 })
  const alive = owner(directory.path, { token: 'rival' })
  writeFileSync(join(directory.path, 'lock'), stale)
  writeFileSync(join(directory.path, 'lock.claim'), alive)
  expect(failure(() => lockDirectory(directory.path))).toEqual(locked)
  writeFileSync(join(directory.path, 'lock.claim'), stale)
  lockDirectory(directory.path).release()
  expect(readdirSync(directory.path)).toEqual([])
})

test('a lock taken over by somebody else is left alone by the one that lost it', () => {
  using directory = temporaryDirectory()
  const lock = lockDirectory(directory.path)
  const other = owner.bind(undefined, temporaryDirectory().path)({ pid: process.pid })
  writeFileSync(join(directory.path, 'lock'), other)
  lock.release()
  expect(readFileSync(join(directory.path, 'lock'), 'utf8')).toBe(other)
})

test('a killed process that its parent has not asked for yet counts as gone', async () => {
  using directory = temporaryDirectory()
  // The shell becomes a program that never waits for the child it started, before that ends.
  const parent = spawn('sh', ['-c', 'sleep 1 & echo $!; exec sleep 60'], { stdio: 'pipe' })
  const [output] = await once(parent.stdout, 'data')
  const pid = Number(output)
  const state = (): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1][0]
  await expect.poll(state, { timeout: 20_000 }).toBe('Z')
  const start = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[19]
  writeFileSync(join(directory.path, 'lock'), owner(directory.path, { pid, start }))
  lockDirectory(directory.path).release()
  expect(readdirSync(directory.path)).toEqual([])
  parent.kill('SIGKILL')
  await once(parent, 'exit')
})
