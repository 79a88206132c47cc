/**
 * Keeps a directory to one process. The lock is a file that names its owner; it comes into being whole (by
 * a hard link), so it is never read half-written. A lock whose owner is gone is taken over; to take it
 * over a process must first hold the claim on exactly that lock, so two never both succeed.
 */
import { randomUUID } from 'node:crypto'
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'

import { z } from 'zod'

import { ServiceError } from '../base/errors.ts'
import { isCode } from './log-files.ts'

/** Who holds a lock. `start` and `boot` tell a process from a later one with its pid, where known. */
const ownerSchema = z.object({
  token: z.string(),
  pid: z.int().min(1),
  host: z.string(),
  start: z.string().exactOptional(),
  boot: z.string().exactOptional(),
})

type Owner = z.infer<typeof ownerSchema>

export interface DirectoryLock {
  /** Idempotent. */
  release(): void
}

/** Throws `LOG_LOCKED`, naming the owner, while another process or another log here holds it. */
export function lockDirectory(directory: string): DirectoryLock {
  const path = join(directory, 'lock')
  const own = thisProcess()
  if (!create(path, own)) takeOver(path, own)
  return {
    release: () => {
      if (readOwner(path)?.token === own.token) rmSync(path)
    },
  }
}

function takeOver(path: string, own: Owner): void {
  const held = readOwner(path)
  if (held !== undefined && !isGone(held)) throw locked(path, held)
  const claim = `${path}.claim`
  const rival = readOwner(claim)
  if (rival !== undefined && isGone(rival)) rmSync(claim, { force: true })
  if (!create(claim, own)) throw locked(path, readOwner(claim))
  try {
    const now = readOwner(path)
    if (now !== undefined && now.token !== held?.token) throw locked(path, now)
    writeOwner(`${path}.${own.token}`, own)
    renameSync(`${path}.${own.token}`, path)
  } finally {
    rmSync(claim, { force: true })
  }
}

/** False when the file is there already. */
function create(path: string, own: Owner): boolean {
  const temporary = `${path}.${own.token}`
  writeOwner(temporary, own)
  try {
    linkSync(temporary, path)
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  } finally {
    rmSync(temporary, { force: true })
  }
}

const writeOwner = (path: string, owner: Owner): void =>
  writeFileSync(path, `${JSON.stringify(owner)}\n`, { flag: 'wx' })

/** Undefined when there is no such file, or none that this program wrote. */
function readOwner(path: string): Owner | undefined {
  try {
    return ownerSchema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data
  } catch (error) {
    if (isCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined
    throw error
  }
}

function locked(path: string, owner: Owner | undefined): ServiceError {
  const { pid = 0, host = 'unknown' } = owner ?? {}
  return new ServiceError('LOG_LOCKED', { path, pid, host })
}

function thisProcess(): Owner {
  const start = processStart(process.pid)
  const boot = bootId()
  return {
    token: randomUUID(),
    pid: process.pid,
    host: hostname(),
    ...(start === undefined ? {} : { start }),
    ...(boot === undefined ? {} : { boot }),
  }
}

/** Of another machine nothing is known: its locks are never taken over. */
function isGone(owner: Owner): boolean {
  if (owner.host !== hostname()) return false
  if (owner.boot !== undefined && owner.boot !== bootId()) return true
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    return isCode(error, 'ESRCH')
  }
  return owner.start !== undefined && owner.start !== processStart(owner.pid)
}

/** Clock ticks from boot to the start of a process (Linux). */
function processStart(pid: number): string | undefined {
  const stat = readIfAny(`/proc/${pid}/stat`)
  // The name of the program, in parentheses, may hold anything; field 22 is the 20th behind it.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

const bootId = (): string | undefined => readIfAny('/proc/sys/kernel/random/boot_id')?.trim()

function readIfAny(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
