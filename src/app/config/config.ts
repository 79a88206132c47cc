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
  return { path: steps, value: parse(text.slice(at + 1)) as unknown, source: `--set ${text}` }
}

/** Sets one value, making objects on the way; `null` takes the option away. */
function applyOverride(root: Record<string, unknown>, { path, value, source }: Override): void {
  let at: unknown = root
  for (const [depth, step] of path.entries()) {
    const key = Array.isArray(at) && typeof step === 'string' ? indexByName(at, step) : step
    if (!isContainer(at) || key === -1 || key === '__proto__') {
      throw invalid(source, path.slice(0, depth + 1), 'there is nothing of this name')
    }
    if (depth < path.length - 1) {
      at[key] ??= {}
      at = at[key]
    } else if (value === null) {
      delete at[key]
    } else {
      at[key] = value
    }
  }
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

/** `CONFIG_INVALID` with the first complaint's path, and the others behind it. */
function refusal(source: string, complaints: readonly Complaint[]): ServiceError {
  const [first, ...others] = complaints.slice(0, 10)
  const rest = others.map(({ path, reason }) => `${dotted(path)}: ${reason}`)
  return invalid(source, first?.path ?? [], [first?.reason ?? '', ...rest].join('; also '))
}

/** Checks what a file and its overrides say, and fills in the defaults. */
function parseConfig(input: unknown, source: string): Config {
  const result = configSchema.safeParse(input, { reportInput: true })
  if (!result.success) throw refusal(source, result.error.issues.flatMap(complaintsOf))
  const complaints = [...checkConfig(result.data)]
  if (complaints.length > 0) throw refusal(source, complaints)
  return result.data
}

/** The `model` part alone, beside a process that there is. Throws `CONFIG_INVALID`. */
export const parseModel = (model: unknown, { process }: Config): Config['model'] =>
  parseConfig({ model, process }, 'model').model

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
  const input = readYaml(source)
  input['model'] ??= readYaml(fallback)['model']
  for (const override of [...environmentOverrides(given.environment), ...given.overrides]) {
    applyOverride(input, override)
  }
  const config = parseConfig(input, source)
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
