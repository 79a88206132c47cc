/**
 * What the JSON schema of the configuration knows about paths: which names may stand at a place,
 * and which single values can be overridden by an environment variable or a flag.
 */
import * as z from 'zod'

import { jsonSchema } from './config-schema.ts'

export type Path = readonly (string | number)[]

interface SchemaNode {
  readonly type?: string | undefined
  readonly default?: unknown
  readonly description?: string | undefined
  readonly unit?: string | undefined
  readonly properties?: Readonly<Record<string, SchemaNode>> | undefined
  readonly items?: SchemaNode | undefined
  readonly oneOf?: readonly SchemaNode[] | undefined
  readonly additionalProperties?: unknown
}

const nodeSchema: z.ZodType<SchemaNode> = z.lazy(() =>
  z.object({
    type: z.string().optional(),
    default: z.unknown().optional(),
    description: z.string().optional(),
    unit: z.string().optional(),
    properties: z.record(z.string(), nodeSchema).optional(),
    items: nodeSchema.optional(),
    oneOf: z.array(nodeSchema).optional(),
    additionalProperties: z.unknown().optional(),
  }),
)

const root = nodeSchema.parse(jsonSchema())

/** Every schema that may describe the value at `path`: several where the kind is not known. */
function nodesAt(path: Path): readonly SchemaNode[] {
  let nodes: readonly SchemaNode[] = [root]
  for (const step of path) {
    nodes = nodes.flatMap((node) => {
      const child = typeof step === 'number' ? node.items : node.properties?.[step]
      return child === undefined ? [] : (child.oneOf ?? [child])
    })
  }
  return nodes
}

/** Names that the schema knows inside the object at `path`. */
export const namesAt = (path: Path): readonly string[] => [
  ...new Set(nodesAt(path).flatMap((node) => Object.keys(node.properties ?? {}))),
]

/** An option that stands alone: no list, no choice of kinds, not inside either. */
export interface Option {
  readonly path: readonly string[]
  readonly variable: string
  readonly type: string
  readonly default: unknown
  readonly unit: string | undefined
  readonly description: string | undefined
}

const snakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** `process.http.port` is FRESHET_HTTP_PORT, `model.seed` is FRESHET_MODEL_SEED. */
const variableOf = (path: readonly string[]): string =>
  `FRESHET_${path
    .filter((step, depth) => depth > 0 || step !== 'process')
    .map(snakeCase)
    .join('_')}`

function* optionsUnder(node: SchemaNode, path: readonly string[]): Generator<Option> {
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    const at = [...path, name]
    if (child.properties !== undefined) {
      yield* optionsUnder(child, at)
    } else if (child.oneOf === undefined && child.additionalProperties === undefined) {
      yield {
        path: at,
        variable: variableOf(at),
        type: child.type ?? 'string',
        default: child.default,
        unit: child.unit,
        description: child.description,
      }
    }
  }
}

/** Every option that an environment variable can set. */
export const options: readonly Option[] = [...optionsUnder(root, [])]
