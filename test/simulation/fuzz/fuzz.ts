/**
 * Fuzzes a whole service: `npm run -s fuzz -- --requests 100000`. Every route of its OpenAPI
 * document is sent right, spoiled and junk requests, with keys of all scopes; then sockets are
 * abused. Prints one JSON object; exits 1 if an answer was a 500, hung, was not as documented or
 * came without the scope for it, if memory grew, or if the service did not live on.
 */
import { hash } from 'node:crypto'

import { Command } from 'commander'

import { decimal, wholeNumber } from '../../../src/app/flags.ts'
import { machine, sourceCommit } from '../../../src/app/machine.ts'
import { parseMetrics } from '../../../src/app/scrape.ts'
import { smallShop } from '../../app/small-service.ts'
import { startService } from '../../support/service-process.ts'
import { attacks, runAttacks } from './attacks.ts'
import { fuzz } from './fuzz-run.ts'

interface Flags {
  readonly requests: number
  readonly seed: number
  readonly concurrency: number
  readonly growth: number
}

const flags = new Command('fuzz')
  .option('--requests <number>', 'requests', wholeNumber(1), 100_000)
  .option('--seed <number>', 'of what is drawn', wholeNumber(0), 1)
  .option('--concurrency <number>', 'requests under way', wholeNumber(1, 256), 16)
  .option('--growth <share>', 'by which the heap may have grown', decimal(0), 0.25)
  .option('--json', 'accepted for symmetry: the output is JSON anyway')
  .parse()
  .opts<Flags>()

const say = (line: string): void => void process.stderr.write(`${line}\n`)
const scopes = ['read', 'write', 'admin'] as const
const keys = { read: 'reads', write: 'writes', admin: 'administers' }
const requestTimeoutMs = 2_000
const set = {
  'process.http.apiKeys': JSON.stringify(
    scopes.map((scope) => ({ name: scope, sha256: hash('sha256', keys[scope]), scopes: [scope] })),
  ),
  'process.http.requestTimeoutMs': requestTimeoutMs,
  // What never happened is not waited for long.
  'process.http.visibilityWaitMs': 20,
  'process.jobs.auditRecallMs': 0,
}
const overrides = [...smallShop, ...Object.entries(set).map(([name, value]) => `${name}=${value}`)]
await using service = await startService(overrides.flatMap((one) => ['--set', one]))
const { address } = service

const users = Array.from({ length: 40 }, (_, i) => `user-${i}`)
const items = Array.from({ length: 200 }, (_, i) => `item-${i}`)
const jobs = [
  'restrict',
  'checkpoint',
  'compact',
  'rebuildIndex',
  'auditRecall',
  'expire',
  'export',
]
await fetch(`${address}/v1/events`, {
  method: 'POST',
  headers: { 'x-api-key': keys.write, 'content-type': 'application/json' },
  body: JSON.stringify(
    Array.from({ length: 4_000 }, (_, i) => ({
      userId: users[i % users.length],
      itemId: items[(i * 7) % items.length],
      type: 'click',
    })),
  ),
})

async function heap(): Promise<{ heapBytes: number; residentBytes: number }> {
  const answer = await fetch(`${address}/metrics`, { headers: { 'x-api-key': keys.read } })
  const metrics = parseMetrics(await answer.text())
  const of = (what: string) => metrics.get(`freshet_process_memory_bytes{of="${what}"}`) ?? 0
  return { heapBytes: of('heap_used') || of('heap'), residentBytes: of('resident') }
}

/** The least of the batches in a part of the run: what garbage is left does not count. */
const samples: { sent: number; heapBytes: number; residentBytes: number }[] = []
const report = await fuzz({
  address,
  ...flags,
  keys,
  known: [...users.slice(0, 5), ...items.slice(0, 10), ...jobs],
  async onBatch(sent) {
    samples.push({ sent, ...(await heap()) })
    if (sent % 10_000 === 0) say(`${sent} requests`)
  },
})
const least = (part: typeof samples): number => Math.min(...part.map(({ heapBytes }) => heapBytes))
const third = Math.ceil(samples.length / 3)
const [early, late] = [least(samples.slice(third, 2 * third)), least(samples.slice(-third))]
const heapGrowth = samples.length < 6 ? 0 : late / early - 1

say('attacks on sockets')
const attackFaults = await runAttacks(
  address,
  attacks(keys.write, requestTimeoutMs),
  10 * requestTimeoutMs,
)
const live = (await fetch(`${address}/health/ready`)).status
const hasFailed =
  report.faults.length > 0 || attackFaults.length > 0 || heapGrowth > flags.growth || live !== 200
const whole = {
  ...report,
  attacks: attacks('', requestTimeoutMs).length,
  attackFaults,
  heapGrowth: Math.round(heapGrowth * 1_000) / 1_000,
  residentBytes: samples.at(-1)?.residentBytes,
  readyAfter: live,
  seed: flags.seed,
  machine: machine(),
  commit: sourceCommit(),
}
process.stdout.write(`${JSON.stringify(whole)}\n`)
process.exitCode = hasFailed ? 1 : 0
