/** `freshet versions`: the models of a running service beside one another, and who answers. */
import type { Command } from 'commander'
import * as z from 'zod'

import {
  type ConfigFlags,
  configOf,
  type JsonObject,
  printReport,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import { decimal } from '../flags.ts'
import { stopSignal } from '../stop-signal.ts'
import { clientOf, type ServiceFlags, withService } from './service-flags.ts'

interface Flags extends ServiceFlags {
  readonly json?: true
}

interface AddFlags extends Flags, ConfigFlags {
  readonly name?: string
}

const rate = z.object({ value: z.number(), low: z.number(), high: z.number() })

const listed = z.object({
  primary: z.string(),
  previous: z.string().optional(),
  versions: z.array(
    z.object({
      name: z.string(),
      role: z.string(),
      state: z.string(),
      missing: z.string().optional(),
      percent: z.number(),
      differs: z.array(z.string()),
      training: z.object({ lagEvents: z.number() }).optional(),
      evaluation: z.object({ model: z.object({ hr10: z.number() }) }).optional(),
      overlap: z.object({ mean: z.number() }).optional(),
    }),
  ),
})

const experiment = z.object({
  versions: z.array(
    z.object({ version: z.string(), answers: z.number(), ctr: rate, hitRate: rate }),
  ),
})

type Listed = z.infer<typeof listed>
type Outcomes = z.infer<typeof experiment>['versions'][number]

const place = 'versions'
const placeOf = (name: string): string => `${place}/${encodeURIComponent(name)}`

export function addVersions(program: Command, terminal: Terminal): void {
  const versions = program
    .command('versions')
    .description('models of a running service beside one another, and who answers')
  const asking = (text: string): Command => withJson(withService(versions.command(text)))
  asking('list')
    .description('versions side by side: traffic, hit rates, what came of their answers')
    .action((flags: Flags) => list(flags, terminal))
  asking('show <name>')
    .description('one version')
    .action((name: string, flags: Flags) => send('GET', placeOf(name), { flags, terminal }))
  withConfig(asking('add'))
    .description('train the model of a configuration beside those that there are')
    .option('--name <name>', "the version's name; default: the model's own")
    .action((flags: AddFlags) => add(flags, terminal))
  asking('traffic <name>')
    .argument('<percent>', '0 to 100', decimal(0, 100))
    .description('give a version a share of the users')
    .action((name: string, percent: number, flags: Flags) =>
      send('PATCH', placeOf(name), { flags, terminal, body: { percent } }),
    )
  asking('promote <name>')
    .description('make a version the one that answers')
    .action((name: string, flags: Flags) =>
      send('POST', `${placeOf(name)}/promote`, { flags, terminal, isList: true }),
    )
  asking('rollback')
    .description('go back to the version that answered before')
    .action((flags: Flags) => send('POST', `${place}/rollback`, { flags, terminal, isList: true }))
  asking('remove <name>')
    .description('remove a version with all that it has learned')
    .action((name: string, flags: Flags) =>
      send('DELETE', placeOf(name), { flags, terminal, isList: true }),
    )
}

interface Sending {
  readonly flags: Flags
  readonly terminal: Terminal
  readonly body?: object
  /** What is shown: the answer, or all versions. */
  readonly isList?: true
}

async function send(
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  path: string,
  { flags, terminal, body, isList }: Sending,
): Promise<void> {
  using stop = stopSignal()
  const answer = await clientOf(flags, stop.signal).admin(method, path, body)
  if (isList && !flags.json) show(listed.parse(answer), [], terminal)
  else printReport(terminal, plain(answer), flags.json === true)
}

async function add(flags: AddFlags, terminal: Terminal): Promise<void> {
  const { model } = configOf(flags, 'shop').config
  const { name } = flags
  const body = { model, ...(name !== undefined && { name }) }
  await send('POST', place, { flags, terminal, body })
}

async function list(flags: Flags, terminal: Terminal): Promise<void> {
  using stop = stopSignal()
  const client = clientOf(flags, stop.signal)
  const answer = await client.admin('GET', place)
  const outcomes = await client.admin('GET', 'experiment').catch(() => ({ versions: [] }))
  if (flags.json) printReport(terminal, { ...plain(answer), experiment: plain(outcomes) }, true)
  else show(listed.parse(answer), experiment.parse(outcomes).versions, terminal)
}

const head = ['version', 'role', 'state', 'traffic', 'HR@10', 'alike', 'answers', 'CTR', 'hit rate']

function show({ versions }: Listed, outcomes: readonly Outcomes[], terminal: Terminal): void {
  const rows = versions.map(({ name, role, state, percent, evaluation, overlap }) => {
    const outcome = outcomes.find(({ version }) => version === name)
    return [
      name,
      role,
      state,
      `${percent} %`,
      evaluation?.model.hr10.toFixed(4) ?? '',
      overlap?.mean.toFixed(2) ?? '',
      String(outcome?.answers ?? ''),
      rateText(outcome?.ctr, outcome?.answers),
      rateText(outcome?.hitRate, outcome?.answers),
    ]
  })
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at].length)),
  )
  for (const row of [head, ...rows]) {
    terminal.print(
      row
        .map((cell, at) => cell.padEnd(widths[at]))
        .join('  ')
        .trimEnd(),
    )
  }
  for (const { name, missing, differs } of versions) {
    if (missing !== undefined) terminal.print(`${name} waits: ${missing}`)
    if (differs.length > 0) terminal.print(`${name} differs in ${differs.join(', ')}`)
  }
}

/** `12.1 % (10.9-13.4)`: the interval has the true one with a probability of 95 %. */
function rateText(found: z.infer<typeof rate> | undefined, answers = 0): string {
  if (found === undefined || answers === 0) return ''
  const [value, low, high] = [found.value, found.low, found.high].map((x) => (100 * x).toFixed(1))
  return `${value} % (${low}-${high})`
}

// It was made from JSON.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const plain = (value: unknown): JsonObject => value as JsonObject
