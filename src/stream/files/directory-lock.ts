/**
 * Keeps a directory to one process. The lock is a file that names its owner; it comes into being
 * whole (by a hard link), so it is never read half-written. A lock whose owner is gone is taken
 * over; to take it over a process must first hold the claim on exactly that lock, so two never both
 * succeed.
 */
import { randomUUID } from 'node:crypto'
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'

import { ServiceError } from '../../base/errors.ts'
import { isCode } from './log-files.ts'

/**
 * Who holds a lock. `start` and `boot` tell a process from a later one with its pid, where known.
 */
interface Owner {
  readonly token: string
  readonly pid: number
  readonly host: string
  readonly start: string | undefined
  readonly boot: string | undefined
}

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
  try {
    writeOwner(temporary, own)
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
    return parseOwner(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    if (isCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined
    throw error
  }
}

function parseOwner(value: unknown): Owner | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const fields = new Map<string, unknown>(Object.entries(value))
  const text = (name: string): string | undefined => {
    const field = fields.get(name)
    return typeof field === 'string' ? field : undefined
  }
  const pid = fields.get('pid')
  const [token, host] = [text('token'), text('host')]
  if (typeof pid !== 'number' || !(pid >= 1) || token === undefined || host === undefined) {
    return undefined
  }
  return { token, pid, host, start: text('start'), boot: text('boot') }
}

function locked(path: string, owner: Owner | undefined): ServiceError {
  const { pid = 0, host = 'unknown' } = owner ?? {}
  return new ServiceError('LOG_LOCKED', { path, pid, host })
}

const thisProcess = (): Owner => ({
  token: randomUUID(),
  pid: process.pid,
  host: hostname(),
  start: processStat(process.pid).start,
  boot: bootId(),
})

/** Of another machine nothing is known: its locks are never taken over. */
function isGone(owner: Owner): boolean {
  if (owner.host !== hostname()) return false
  if (owner.boot !== undefined && owner.boot !== bootId()) return true
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    return isCode(error, 'ESRCH')
  }
  const { state, start } = processStat(owner.pid)
  // A killed process whose parent has not asked for it yet holds nothing any more.
  if (state === 'Z' || state === 'X') return true
  return owner.start !== undefined && owner.start !== start
}

interface ProcessStat {
  readonly state?: string | undefined
  /** Clock ticks from boot to the start of the process. */
  readonly start?: string | undefined
}

/** What Linux tells of a process; nothing elsewhere. */
function processStat(pid: number): ProcessStat {
  const stat = readIfAny(`/proc/${pid}/stat`)
  if (stat === undefined) return {}
  // The name of the program, in parentheses, may hold anything; field 3 is the first behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0], start: fields[19] }
}

const bootId = (): string | undefined => readIfAny('/proc/sys/kernel/random/boot_id')?.trim()

function readIfAny(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
