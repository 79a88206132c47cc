/**
 * Reads the configuration: one YAML file, then FRESHET_* variables, then flags, each overriding
 * the one before. Unknown names are refused with the nearest right one; every complaint carries
 * its path. The only file that reads the environment.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

import { LineCounter, parse, parseDocument } from 'yaml'
import type * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import { suggestion } from '../nearest.ts'
import { checkConfig, type Complaint } from './config-checks.ts'
import { namesAt, options, type Path } from './config-paths.ts'
import { type Config, configSchema } from './config-schema.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** One value set from outside the file, and who set it. */
export interface Override {
  readonly path: Path
  readonly value: unknown
  readonly source: string
}

export interface LoadedConfig {
  readonly config: Config
  /** Path of the file that it came from. */
  readonly source: string
  /** The file's own name, without its folder. */
  readonly name: string
  /** Of the model part alone: what two processes must have in common. */
  readonly modelHash: string
}

/** Variables that are not options. */
const otherVariables = ['FRESHET_CONFIG', 'FRESHET_API_KEY']

/** The environment of this process. */
export const environment: Environment = process.env

/** A configuration that comes with the package: `shop` is `configs/shop.yaml`. */
export const bundledConfig = (name: string): string =>
  fileURLToPath(new URL(`../../../configs/${name}.yaml`, import.meta.url))

const dotted = (path: Path): string =>
  path.reduce<string>(
    (text, step) =>
      typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`,
    '',
  )

const invalid = (source: string, path: Path, reason: string): ServiceError =>
  new ServiceError('CONFIG_INVALID', { source, path: dotted(path) || '(whole file)', reason })

function readText(source: string): string {
  try {
    return readFileSync(source, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ServiceError(
      'CONFIG_INVALID',
      { source, path: '(whole file)', reason },
      { cause: error },
    )
  }
}

function readYaml(source: string): Record<string, unknown> {
  const document = parseDocument(readText(source), { lineCounter: new LineCounter() })
  const [problem] = document.errors
  if (problem !== undefined) {
    const [firstLine = ''] = problem.message.split('\n')
    throw invalid(source, [], `not YAML: ${firstLine.replace(/:$/, '')}`)
  }
  const value: unknown = document.toJS({ maxAliasCount: 100 })
  if (value === null || value === undefined) return {}
  if (!isRecord(value)) throw invalid(source, [], 'expected names and values')
  return value
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** FRESHET_* variables as overrides. Throws for one that is no option. */
export function environmentOverrides(variables: Environment): readonly Override[] {
  const byVariable = new Map(options.map((option) => [option.variable, option]))
  const overrides: Override[] = []
  for (const [variable, text] of Object.entries(variables)) {
    if (!variable.startsWith('FRESHET_') || otherVariables.includes(variable)) continue
    const option = byVariable.get(variable)
    if (option === undefined) {
      const known = [...byVariable.keys(), ...otherVariables]
      throw invalid('environment', [variable], `no such option${suggestion(variable, known)}`)
    }
    const value: unknown = option.type === 'string' ? text : parse(text ?? '')
    overrides.push({ path: option.path, value, source: variable })
  }
  return overrides
}

/**
 * `process.http.port=0` from a `--set` flag. Steps into lists are indices or `name`s of members.
 */
export function parseOverride(text: string): Override {
  const at = text.indexOf('=')
  if (at < 1) throw invalid('--set', [text], 'expected path=value')
  const path = text
    .slice(0, at)
    .split(/[.[\]]+/)
    .filter((step) => step !== '')
  const steps = path.map((step) => (/^\d+$/.test(step) ? Number(step) : step))
  // The value may be a secret: no message has it.
  const source = `--set ${text.slice(0, at)}`
  return { path: steps, value: parse(text.slice(at + 1)) as unknown, source }
}

/**
 * Sets one value, making objects on the way; `null` takes the option away. The path that it has in
 * the end, members of lists by their index.
 */
function applyOverride(root: Record<string, unknown>, { path, value, source }: Override): Path {
  const keys: (string | number)[] = []
  let at: unknown = root
  for (const [depth, step] of path.entries()) {
    const key = Array.isArray(at) && typeof step === 'string' ? indexByName(at, step) : step
    if (!isContainer(at) || key === -1 || key === '__proto__') {
      throw invalid(source, path.slice(0, depth + 1), 'there is nothing of this name')
    }
    keys.push(key)
    if (depth < path.length - 1) {
      at[key] ??= {}
      at = at[key]
    } else if (value === null) {
      delete at[key]
    } else {
      at[key] = value
    }
  }
  return keys
}

const isContainer = (value: unknown): value is Record<string | number, unknown> =>
  typeof value === 'object' && value !== null

const indexByName = (list: readonly unknown[], name: string): number =>
  list.findIndex((member) => isRecord(member) && member['name'] === name)

function complaintsOf(issue: z.core.$ZodIssue): readonly Complaint[] {
  const path = issue.path.filter((step) => typeof step !== 'symbol')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: [...path, key],
      reason: `unknown option${suggestion(key, namesAt(path))}`,
    }))
  }
  if (issue.code === 'invalid_type' && issue.input === undefined) {
    return [{ path, reason: 'is missing' }]
  }
  return [{ path, reason: issue.message }]
}

/** Where a configuration comes from: a file, and what was set over it, the last one counting. */
interface Origin {
  readonly file: string
  readonly overrides: readonly { readonly path: Path; readonly source: string }[]
  /** What the file says, without what was set over it. */
  readonly alone: () => unknown
}

/** Whether one of them leads to, or through, the other. */
const overlaps = (a: Path, b: Path): boolean =>
  a.slice(0, b.length).join('\0') === b.slice(0, a.length).join('\0')

/** Who set what is complained of; a file that is sound alone does not fit what is set over it. */
function sourceOf(path: Path, { file, overrides, alone }: Origin): string {
  const setter = overrides.findLast((override) => overlaps(override.path, path))
  if (setter !== undefined) return setter.source
  const isSound = overrides.length > 0 && 'config' in check(alone())
  return isSound ? `${file} with ${overrides.map(({ source }) => source).join(', ')}` : file
}

/** `CONFIG_INVALID` with the first complaint's path, and the others behind it. */
function refusal(origin: Origin, complaints: readonly Complaint[]): ServiceError {
  const [first, ...others] = complaints.slice(0, 10)
  const [path, reason] = [first?.path ?? [], first?.reason ?? '']
  const source = sourceOf(path, origin)
  const rest = others.map((other) => {
    const otherSource = sourceOf(other.path, origin)
    const from = otherSource === source ? '' : ` (${otherSource})`
    return `${dotted(other.path)}: ${other.reason}${from}`
  })
  return invalid(source, path, [reason, ...rest].join('; also '))
}

/** Checks a configuration and fills in the defaults; or what is wrong with it. */
function check(input: unknown): { config: Config } | { complaints: readonly Complaint[] } {
  const result = configSchema.safeParse(input, { reportInput: true })
  if (!result.success) return { complaints: result.error.issues.flatMap(complaintsOf) }
  const complaints = [...checkConfig(result.data)]
  return complaints.length > 0 ? { complaints } : { config: result.data }
}

function parseConfig(input: unknown, origin: Origin): Config {
  const checked = check(input)
  if ('complaints' in checked) throw refusal(origin, checked.complaints)
  return checked.config
}

/** The `model` part alone, beside a process that there is. Throws `CONFIG_INVALID`. */
export const parseModel = (model: unknown, { process }: Config): Config['model'] =>
  parseConfig({ model, process }, { file: 'model', overrides: [], alone: () => null }).model

export interface LoadOptions {
  /** Path of the file; absent: FRESHET_CONFIG, else `fallback`. */
  readonly file?: string | undefined
  /** Name of the bundled configuration to use when no file is named. */
  readonly fallback?: string
  readonly environment: Environment
  readonly overrides: readonly Override[]
}

/** A file without a `model` part has that of the bundled fallback. */
export function loadConfig(given: LoadOptions): LoadedConfig {
  const fallback = bundledConfig(given.fallback ?? 'shop')
  const source = given.file ?? given.environment['FRESHET_CONFIG'] ?? fallback
  const alone = (): Record<string, unknown> => {
    const said = readYaml(source)
    return { ...said, model: said['model'] ?? readYaml(fallback)['model'] }
  }
  const input = alone()
  const overrides = [...environmentOverrides(given.environment), ...given.overrides].map(
    (override) => ({ path: applyOverride(input, override), source: override.source }),
  )
  const config = parseConfig(input, { file: source, overrides, alone })
  return { config, source, name: basename(source), modelHash: hashOf(config.model) }
}

/** Independent of the order in which options are written. */
function hashOf(value: unknown): string {
  const canonical = JSON.stringify(value, (_, member: unknown) =>
    isRecord(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  )
  return createHash('sha256').update(canonical).digest('hex').slice(0, 16)
}
