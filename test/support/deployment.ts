/** What lies in `deploy/` and docker-compose.yml, parsed, as loosely as its own tools read it. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

import { parse, parseAllDocuments } from 'yaml'
import * as z from 'zod'

export const root = resolve(import.meta.dirname, '../..')

export const textOf = (path: string): string => readFileSync(resolve(root, path), 'utf8')

/** Anchors and `<<` as Compose and Kubernetes take them. */
export const yamlOf = (path: string): unknown => parse(textOf(path), { merge: true })

const variables = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))

const serviceSchema = z.looseObject({
  image: z.string(),
  profiles: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: variables.default({}),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).optional(),
  deploy: z.object({ replicas: z.number() }).optional(),
})

export type ComposeService = z.output<typeof serviceSchema>

const composeSchema = z.object({
  services: z.record(z.string(), serviceSchema),
  volumes: z.record(z.string(), z.unknown()),
})

export const compose = (): z.output<typeof composeSchema> =>
  composeSchema.parse(yamlOf('docker-compose.yml'))

/** As a container gets it: `${NAME:-default}` with nothing set outside. */
export const environmentOf = (service: ComposeService): Record<string, string> =>
  Object.fromEntries(
    Object.entries(service.environment).map(([name, value]) => [
      name,
      String(value).replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1'),
    ]),
  )

/** Instructions of the Dockerfile, with lines joined. */
export const dockerfile = (): readonly (readonly [string, string])[] =>
  textOf('deploy/Dockerfile')
    .replaceAll(/^#.*$/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', ...rest] = line.split(' ')
      return [name, rest.join(' ')]
    })

/** What the image sets. */
export function imageEnvironment(): Record<string, string> {
  const lines = dockerfile().filter(([name]) => name === 'ENV')
  const pairs = lines.flatMap(([, text]) => text.split(/\s+/).map((pair) => pair.split('=')))
  return Object.fromEntries(pairs.map(([name = '', value = '']) => [name, value]))
}

/** The last such instruction, in its JSON form. */
export function jsonOf(instruction: string): readonly string[] {
  const text = dockerfile().findLast(([name]) => name === instruction)?.[1] ?? ''
  const words: unknown = JSON.parse(text.replace(/^.*?(?=\[)/, ''))
  return z.array(z.string()).parse(words)
}

const resourceSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }).optional(),
})

export type Resource = z.output<typeof resourceSchema>

/** Every document of a file. */
export const resourcesOf = (path: string): readonly Resource[] =>
  parseAllDocuments(textOf(path), { merge: true }).map((document) =>
    resourceSchema.parse(document.toJS()),
  )

const rulesSchema = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Freshet[A-Za-z]+$/),
          expr: z.string(),
          for: z
            .string()
            .regex(/^\d+[smh]$/)
            .optional(),
          labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
          annotations: z.strictObject({
            summary: z.string(),
            description: z.string(),
            runbook_url: z.string(),
          }),
        }),
      ),
    }),
  ),
})

/** Every alert rule. */
export const alerts = () =>
  rulesSchema.parse(yamlOf('deploy/alerts/freshet.rules.yml')).groups.flatMap(({ rules }) => rules)

const dashboardSchema = z.looseObject({
  title: z.string(),
  uid: z.string(),
  schemaVersion: z.number(),
  templating: z.object({ list: z.array(z.looseObject({ name: z.string() })) }),
  panels: z.array(
    z.looseObject({
      id: z.number(),
      type: z.enum(['row', 'stat', 'timeseries']),
      title: z.string(),
      gridPos: z.object({ h: z.number(), w: z.number(), x: z.number(), y: z.number() }),
      targets: z.array(z.looseObject({ refId: z.string(), expr: z.string() })).default([]),
    }),
  ),
})

export const dashboard = (): z.output<typeof dashboardSchema> =>
  dashboardSchema.parse(JSON.parse(textOf('deploy/grafana/freshet.json')))

/** What the dashboard's variables stand for, as Grafana would put it in. */
const filled = (expression: string): string =>
  expression.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'freshet')

/** Every expression of alerts and dashboard, under the name of what it is for. */
export const expressions = (): readonly (readonly [name: string, expression: string])[] => [
  ...alerts().map(({ alert, expr }) => [`alert ${alert}`, expr] as const),
  ...dashboard().panels.flatMap(({ title, targets }) =>
    targets.map(({ refId, expr }) => [`panel ${title} ${refId}`, filled(expr)] as const),
  ),
]

/** What a process tells while there are several versions of the model, and else not. */
export const isOfVersions = (metric: string): boolean =>
  /^freshet_(version|experiment)_/.test(metric)
