/** `freshet keys`: who may call the service. A running one takes changes within a second. */
import { dirname } from 'node:path'

import { type Command, InvalidArgumentError } from 'commander'

import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import {
  changeKeys,
  keyName,
  newSecret,
  readKeys,
  type StoredKey,
} from '../../serving/http/key-file.ts'
import type { Scope } from '../../serving/http/settings.ts'
import { type ConfigFlags, configOf, type Terminal, withConfig, withJson } from '../command.ts'
import { decimal, wholeNumber } from '../flags.ts'
import { makeDirectory } from '../make-directory.ts'
import { suggestion } from '../nearest.ts'
import { keysFileOf } from '../options.ts'

interface KeyFlags extends ConfigFlags {
  readonly json?: true
}

interface CreateFlags extends KeyFlags {
  readonly scope: readonly Scope[]
  readonly rate?: number
  readonly burst?: number
  readonly expires?: number
}

export function addKeys(program: Command, terminal: Terminal): void {
  const keys = program.command('keys').description('API keys: who may call, and how often')
  addCreate(keys, terminal)
  withKeys(keys.command('list'))
    .description('names, scopes, rates and times of the keys that there are')
    .action((flags: KeyFlags) => list(flags, terminal))
  withKeys(keys.command('revoke'))
    .argument('<name>', 'of a key')
    .description('a key is none any more, within a second')
    .action((name: string, flags: KeyFlags) => revoke(name, flags, terminal))
}

const withKeys = (command: Command): Command =>
  withJson(withConfig(command)).option('-d, --data <directory>', 'data directory of the service')

function addCreate(keys: Command, terminal: Terminal): void {
  withKeys(keys.command('create'))
    .argument('<name>', 'shown in lists and logs', nameOf)
    .description('make a key; it is printed this once, and only its hash is kept')
    .option('--scope <scopes>', 'read (ask), write (events, items, users), admin', scopes, ['read'])
    .option('--rate <number>', 'requests per second (default: the common one)', decimal(0.001))
    .option('--burst <number>', 'requests that may come at once', wholeNumber(1))
    .option('--expires <time>', 'in 12h, 30d, ..., or a date; default: never', expiry)
    .action((name: string, flags: CreateFlags) => create(name, flags, terminal))
}

function nameOf(text: string): string {
  if (keyName.test(text)) return text
  throw new InvalidArgumentError('expected 1 to 64 letters, digits, ".", "_", "-" and "@"')
}

const knownScopes: readonly Scope[] = ['read', 'write', 'admin']

function scopes(text: string): readonly Scope[] {
  return text.split(',').map((given) => {
    const found = knownScopes.find((scope) => scope === given.trim())
    if (found !== undefined) return found
    const hint = suggestion(given, knownScopes)
    throw new InvalidArgumentError(`expected ${knownScopes.join(', ')}, or some of them${hint}`)
  })
}

const unitMs: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Epoch ms. */
function expiry(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([mhd])$/.exec(text) ?? []
  const now = systemClock.now()
  const time = count === undefined ? Date.parse(text) : now + Number(count) * (unitMs[unit] ?? 0)
  if (time > now) return time
  throw new InvalidArgumentError('expected 30m, 12h, 90d, or a date to come')
}

function create(name: string, flags: CreateFlags, terminal: Terminal): void {
  const { secret, sha256 } = newSecret()
  const file = fileOf(flags)
  makeDirectory(dirname(file))
  changeKeys(file, (keys) => {
    if (keys.some((key) => key.name === name)) throw new ServiceError('KEY_EXISTS', { name })
    return [...keys, storedKey(name, sha256, flags)]
  })
  const { scope } = flags
  if (flags.json === true) terminal.print(JSON.stringify({ name, key: secret, scopes: scope }))
  else {
    terminal.print(secret)
    terminal.progress(`key ${name} (${scope.join(', ')}); it is not shown again`)
  }
}

const storedKey = (
  name: string,
  sha256: string,
  { scope, rate, burst, expires }: CreateFlags,
): StoredKey => ({
  name,
  sha256,
  scopes: [...new Set(scope)],
  createdAt: systemClock.now(),
  ...(rate !== undefined && { ratePerSecond: rate }),
  ...(burst !== undefined && { rateBurst: burst }),
  ...(expires !== undefined && { expiresAt: expires }),
})

function list(flags: KeyFlags, terminal: Terminal): void {
  const file = fileOf(flags)
  const keys = readKeys(file)
  if (flags.json === true) return terminal.print(JSON.stringify({ file, keys }, withoutHash))
  if (keys.length === 0) return terminal.print(`no keys in ${file}`)
  for (const key of keys) terminal.print(lineOf(key))
}

const withoutHash = (name: string, value: unknown): unknown =>
  name === 'sha256' ? undefined : value

const day = (time: number): string => new Date(time).toISOString().slice(0, 16).replace('T', ' ')

function lineOf({ name, scopes: of, ratePerSecond, createdAt, expiresAt }: StoredKey): string {
  const rate = ratePerSecond === undefined ? '' : `, ${ratePerSecond}/s`
  const isOver = expiresAt !== undefined && expiresAt <= systemClock.now()
  const end = expiresAt === undefined ? '' : `, ${isOver ? 'ended' : 'ends'} ${day(expiresAt)}`
  return `${name.padEnd(24)} ${of.join(',').padEnd(18)} made ${day(createdAt)}${end}${rate}`
}

function revoke(name: string, flags: KeyFlags, terminal: Terminal): void {
  const file = fileOf(flags)
  // Nothing is written where nothing can be revoked: the directory may be another one.
  without(name, readKeys(file))
  changeKeys(file, (keys) => without(name, keys))
  terminal.print(flags.json === true ? JSON.stringify({ revoked: name }) : `revoked ${name}`)
}

function without(name: string, keys: readonly StoredKey[]): readonly StoredKey[] {
  const names = keys.map((key) => key.name)
  if (names.includes(name)) return keys.filter((key) => key.name !== name)
  const known = `${names.join(', ') || 'none'}${suggestion(name, names)}`
  throw new ServiceError('KEY_UNKNOWN', { name, known })
}

const fileOf = (flags: KeyFlags): string => keysFileOf(configOf(flags, 'shop').config)
