/**
 * What every command shares: where it writes, how it loads its configuration, and the JSON object
 * that `--json` promises as the last line of stdout.
 */
import type { Command } from 'commander'

import {
  environment,
  type LoadedConfig,
  loadConfig,
  type Override,
  parseOverride,
} from './config/config.ts'
import { machine, sourceCommit } from './machine.ts'

/** The outside world of a command: handed in, so that a test can be it. */
export interface Terminal {
  /** A line of the result, to stdout. */
  readonly print: (line: string) => void
  /** A line about what goes on, to stderr. */
  readonly progress: (line: string) => void
  /** Whether a person watches stdout. */
  readonly interactive: boolean
  /** Ends the process after output is written. */
  readonly exit: (code: number) => void
}

export type Json = string | number | boolean | null | undefined | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/** Options that every command with a configuration has. */
export interface ConfigFlags {
  readonly config?: string
  readonly set?: readonly string[]
  readonly data?: string
  readonly port?: number
  readonly host?: string
  readonly threads?: number
  readonly role?: readonly string[]
  readonly only?: string
}

const collect = (value: string, previous: readonly string[] = []): readonly string[] => [
  ...previous,
  value,
]

/** Declares `--config` and `--set`. */
export const withConfig = (command: Command): Command =>
  command
    .option('-c, --config <file>', 'configuration file (YAML); or FRESHET_CONFIG')
    .option('--set <path=value>', 'override one option; may be repeated', collect)

/** Declares `--json`. */
export const withJson = (command: Command): Command =>
  command.option('--json', 'print one JSON object as the last line of stdout')

/** The configuration with the flags laid over it. */
export function configOf(flags: ConfigFlags, fallback: string): LoadedConfig {
  const overrides: Override[] = []
  const set = (path: readonly string[], value: unknown, flag: string): void => {
    if (value !== undefined) overrides.push({ path, value, source: flag })
  }
  set(['process', 'dataDirectory'], flags.data, '--data')
  set(['process', 'http', 'port'], flags.port, '--port')
  set(['process', 'http', 'host'], flags.host, '--host')
  set(['process', 'trainer', 'threads'], flags.threads, '--threads')
  set(
    ['process', 'roles'],
    flags.role?.flatMap((names) => names.split(',')),
    '--role',
  )
  set(['process', 'versions', 'only'], flags.only, '--only')
  overrides.push(...(flags.set ?? []).map(parseOverride))
  return loadConfig({ file: flags.config, fallback, environment, overrides })
}

/** The result with what every report names: the machine, the commit, the configuration. */
export const report = (result: JsonObject, loaded?: LoadedConfig): JsonObject => ({
  ...result,
  machine: machine(),
  commit: sourceCommit(),
  config:
    loaded === undefined
      ? (result['config'] ?? null)
      : { file: loaded.name, model: loaded.config.model.name, modelHash: loaded.modelHash },
})

/** Prints a finished report: one JSON object on one line, or name and value lines for a person. */
export function printReport(terminal: Terminal, result: JsonObject, json: boolean): void {
  if (json) terminal.print(JSON.stringify(result))
  else for (const line of readable(result, '')) terminal.print(line)
}

function* readable(value: JsonObject, indent: string): Generator<string> {
  for (const [name, member] of Object.entries(value)) {
    if (isObject(member)) {
      yield `${indent}${name}`
      yield* readable(member, `${indent}  `)
    } else if (Array.isArray(member) && member.some(isObject)) {
      yield `${indent}${name}`
      for (const one of member) yield `${indent}  ${JSON.stringify(one)}`
    } else if (member !== undefined) {
      const text = typeof member === 'string' ? member : JSON.stringify(member)
      yield `${indent}${name.padEnd(24 - indent.length)} ${text}`
    }
  }
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
