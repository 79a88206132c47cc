/**
 * Runs `freshet evaluate` by the published protocols, three seeds each, one after the other, and
 * prints a table: `node bench/quality/run.ts [NAME ...] [--out FILE]`. Says what it runs, so that
 * any line can be repeated alone. Ends with 1 where a mean is below its goal.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'

import { z } from 'zod'

import { prepareMovieLens1M } from './movielens-1m.ts'
import { dataFolder, type Protocol, protocols } from './protocols.ts'

const program = 'src/app/cli.ts'
const result = z.object({ metrics: z.record(z.string(), z.number()), trainSeconds: z.number() })
type Result = z.infer<typeof result>

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string' } },
})

const say = (line: string): void => void process.stderr.write(`${line}\n`)

async function evaluate(flags: readonly string[]): Promise<Result> {
  say(`node ${program} evaluate ${flags.join(' ')} --json`)
  const run = [program, 'evaluate', ...flags, '--json']
  const { stdout } = await promisify(execFile)(process.execPath, run)
  return result.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''))
}

const mean = (some: readonly number[]): number =>
  some.reduce((sum, one) => sum + one, 0) / some.length

const short = (share: number): string => share.toFixed(4).replace(/^0/, '')

/** A line of the table for each goal; whether all are reached. */
async function measure(
  { title, flags, seeds, goals }: Protocol,
  prepared: string,
): Promise<{ readonly rows: readonly string[]; readonly isReached: boolean }> {
  const results: Result[] = []
  for (const seed of seeds) results.push(await evaluate(flags(seed, prepared)))
  const seconds = mean(results.map(({ trainSeconds }) => trainSeconds)).toFixed(0)
  let isReached = true
  const rows = goals.map(({ metric, atLeast, published }) => {
    const found = results.map(({ metrics }) => metrics[metric] ?? 0)
    isReached &&= mean(found) >= atLeast
    const spread = `${short(Math.min(...found))}-${short(Math.max(...found))}`
    const cells = [title, metric, `**${short(mean(found))}** (${spread})`, short(atLeast)]
    return `| ${[...cells, published, `${seconds} s`].join(' | ')} |`
  })
  for (const row of rows) say(row)
  return { rows, isReached }
}

async function main(): Promise<void> {
  const chosen = protocols.filter(
    ({ name }) => positionals.length === 0 || positionals.includes(name),
  )
  const ratings = join(dataFolder, 'ml-1m/interactions_all.csv.gz')
  if (!existsSync(ratings)) throw new Error(`${ratings} is to lie beside the project`)
  const prepared = mkdtempSync(join(tmpdir(), 'freshet-quality-'))
  try {
    if (chosen.some(({ name }) => name.startsWith('ml-1m'))) prepareMovieLens1M(ratings, prepared)
    const head = ['protocol', 'measure', 'mean of 3 seeds', 'goal', 'published', 'training']
    const table = [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`]
    for (const protocol of chosen) {
      const { rows, isReached } = await measure(protocol, prepared)
      table.push(...rows)
      if (!isReached) process.exitCode = 1
    }
    const text = `${table.join('\n')}\n`
    process.stdout.write(text)
    if (values.out !== undefined) writeFileSync(values.out, text)
  } finally {
    rmSync(prepared, { recursive: true })
  }
}

await main()
