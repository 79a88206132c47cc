/**
 * docs/configuration.md from the schema of the configuration: `node docs/configuration.ts` writes
 * it. A test holds the page to it.
 */
import { writeFileSync } from 'node:fs'

import * as z from 'zod'

import { options } from '../src/app/config/config-paths.ts'
import { jsonSchema } from '../src/app/config/config-schema.ts'

const page = 'docs/configuration.md'

interface Node {
  readonly type?: string | undefined
  readonly const?: unknown
  readonly enum?: readonly unknown[] | undefined
  readonly default?: unknown
  readonly description?: string | undefined
  readonly unit?: string | undefined
  readonly minimum?: number | undefined
  readonly maximum?: number | undefined
  readonly exclusiveMinimum?: number | undefined
  readonly maxItems?: number | undefined
  readonly properties?: Readonly<Record<string, Node>> | undefined
  readonly required?: readonly string[] | undefined
  readonly items?: Node | undefined
  readonly oneOf?: readonly Node[] | undefined
  readonly additionalProperties?: unknown
}

const node: z.ZodType<Node> = z.lazy(() =>
  z.object({
    type: z.string().optional(),
    const: z.unknown().optional(),
    enum: z.array(z.unknown()).optional(),
    default: z.unknown().optional(),
    description: z.string().optional(),
    unit: z.string().optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    exclusiveMinimum: z.number().optional(),
    maxItems: z.number().optional(),
    properties: z.record(z.string(), node).optional(),
    required: z.array(z.string()).optional(),
    items: node.optional(),
    oneOf: z.array(node).optional(),
    additionalProperties: z.unknown().optional(),
  }),
)

const head = `# Configuration

Every option, made from the schema that checks the file (\`node docs/configuration.ts\` writes this page). One YAML file in two parts: \`model\` decides
what is learned and must be equal in every process; \`process\` may differ from process to process, and from start to start.
\`freshet config validate -c FILE\` checks a file and names what is wrong at which path, \`freshet config show\` prints what is in force,
\`freshet config schema\` is the JSON Schema, for an editor.

A value comes from, the later the stronger: its default, the file, the environment (the variable named below), flags (\`--set process.http.port=9000\`).
Secrets may stand in files of their own: options that end in \`File\` name one. [\`configs/\`](../configs) has three files with reasons.
`

/** The whole page. */
export function configurationPage(): string {
  const root = node.parse(jsonSchema())
  return `${[head, ...sections('', root)].join('\n').trimEnd()}\n`
}

function* sections(path: string, of: Node, note = ''): Generator<string> {
  const members = Object.entries(of.properties ?? {}).filter(([, one]) => one.const === undefined)
  const isPart = path === ''
  if (!isPart && (members.length > 0 || note !== '')) {
    yield `${'#'.repeat(path.includes('.') || path.includes('[') ? 3 : 2)} \`${path}\`${note}\n`
    if (of.description !== undefined) yield `${sentence(of.description)}\n`
    yield* table(path, of, members)
  }
  for (const [name, one] of members) yield* below(isPart ? name : `${path}.${name}`, one)
}

/** What is made of parts: an object, a list of them, or a choice by kind. */
function* below(path: string, of: Node): Generator<string> {
  if (of.properties !== undefined) yield* sections(path, of)
  if (of.items !== undefined) yield* below(`${path}[]`, of.items)
  for (const one of of.oneOf ?? []) {
    const kind = Object.entries(one.properties ?? {}).find(([, { const: is }]) => is !== undefined)
    if (kind === undefined) yield* below(path, one)
    else yield* sections(path, one, `, \`${kind[0]}: ${String(kind[1].const)}\``)
  }
}

function* table(
  path: string,
  of: Node,
  members: readonly (readonly [string, Node])[],
): Generator<string> {
  if (members.length === 0) return
  yield '| option | value | default | |\n|---|---|---|---|'
  for (const [name, one] of members) {
    const variable = options.find((option) => option.path.join('.') === `${path}.${name}`)?.variable
    const said = [one.description && sentence(one.description), variable && `\`${variable}\``]
    const meaning = said
      .filter(Boolean)
      .join('<br>')
      .replaceAll('|', String.raw`\|`)
    yield `| \`${name}\` | ${valueOf(one)} | ${defaultOf(one, of.required?.includes(name))} | ${meaning} |`
  }
  yield ''
}

function valueOf(of: Node): string {
  if (of.enum !== undefined) return of.enum.map((one) => `\`${String(one)}\``).join(', ')
  if (of.items !== undefined) return `list${of.maxItems ? ` of at most ${of.maxItems}` : ''}`
  if (of.oneOf !== undefined) return 'see below'
  if (of.properties !== undefined) return 'see below'
  if (of.additionalProperties !== undefined && of.type === 'object') return 'values by name'
  return [of.type === 'integer' ? 'whole number' : (of.type ?? ''), rangeOf(of), of.unit ?? '']
    .filter((part) => part !== '')
    .join(', ')
}

function rangeOf({ minimum, maximum, exclusiveMinimum }: Node): string {
  const least = minimum ?? exclusiveMinimum
  const above = exclusiveMinimum === undefined ? 'from' : 'above'
  if (least === undefined || least < -1e15) return ''
  return maximum === undefined || maximum > 1e15 ? `${above} ${least}` : `${least} to ${maximum}`
}

function defaultOf(of: Node, isRequired: boolean | undefined): string {
  if (of.default === undefined) return isRequired === true ? 'needed' : ''
  // Of what is made of parts these stand with the parts.
  if (of.properties !== undefined) return ''
  const text = JSON.stringify(of.default)
  return text.length > 60 ? 'see the schema' : `\`${text.replaceAll('|', String.raw`\|`)}\``
}

const sentence = (text: string): string => text.replaceAll('\n', ' ')

if (import.meta.main) writeFileSync(page, configurationPage())
