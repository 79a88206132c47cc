/**
 * Static, dynamic and restricted tables on MovieLens 1M, side by side:
 *
 *     node examples/movielens-dynamic/main.ts DIRECTORY
 *
 * prints the share of held-out ratings whose film is among the best k of all films, and draws the
 * tables' sizes into `sizes.svg`.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { drawSizes } from './chart.ts'
import { tableNames } from './model.ts'
import { ratingsIn, readMovieLens, split } from './movielens.ts'
import { ranks, Recipe, type TableKind, tableKinds } from './recipe.ts'

const usage = `usage: node examples/movielens-dynamic/main.ts DIRECTORY [--seeds 1,2,3] [--passes 3]
       [--threads 2] [--chart FILE.svg] [--limit RATINGS] [--restrict-every STEPS]
DIRECTORY holds movies.dat and ratings.dat of MovieLens 1M, which is here:
https://grouplens.org/datasets/movielens/1m/`

/** Of the tutorial, after three passes. */
const published: Readonly<Record<TableKind, readonly number[]>> = {
  static: [0.0012, 0.0078, 0.0164, 0.0714, 0.1245],
  dynamic: [0.0011, 0.0077, 0.0159, 0.0699, 0.1243],
  restricted: [0.001, 0.0078, 0.0162, 0.0684, 0.1205],
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)
const shares = (values: readonly number[]): string =>
  values.map((value) => value.toFixed(4)).join('  ')
const mean = (rows: readonly (readonly number[])[]): readonly number[] =>
  rows[0].map((_, k) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length)

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    passes: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    limit: { type: 'string', default: 'Infinity' },
    'restrict-every': { type: 'string' },
    chart: { type: 'string', default: join(import.meta.dirname, 'sizes.svg') },
  },
})

/** Default: at the end of every pass. */
const steps = flags['restrict-every']
const restrictEvery = steps === undefined ? {} : { restrictEvery: Number(steps) }

async function main(directory: string): Promise<void> {
  const all = readMovieLens(directory, Number(flags.limit))
  print(`${all.films.length} ratings of ${all.catalogue.length} films`)
  print(`                     ${ranks.map((k) => `top-${k}`.padEnd(6)).join('  ')}`)
  const found = new Map<TableKind, (readonly number[])[]>(tableKinds.map((kind) => [kind, []]))
  for (const seed of flags.seeds.split(',').map(Number)) {
    const { train, held } = split(all, seed)
    const runs = new Map<TableKind, Recipe>()
    for (const kind of tableKinds) {
      const threads = Number(flags.threads)
      const recipe = await Recipe.create(all, train, { kind, seed, threads, ...restrictEvery })
      for (let pass = 0; pass < Number(flags.passes); pass += 1) recipe.pass()
      const topK = recipe.topK(held)
      print(`seed ${seed}  ${kind.padEnd(11)}  ${shares(topK)}`)
      found.get(kind)?.push(topK)
      runs.set(kind, recipe)
      await recipe.close()
    }
    for (const name of tableNames) {
      const sizes = runs.get('restricted')?.sizes ?? []
      print(
        `rows every 20 steps, ${name} table, restricted: ${sizes.map((at) => at[name]).join(' ')}`,
      )
    }
    writeFileSync(flags.chart, drawSizes(runs))
  }
  for (const kind of tableKinds) {
    print(`mean    ${kind.padEnd(11)}  ${shares(mean(found.get(kind) ?? []))}`)
    print(`        published    ${shares(published[kind])}`)
  }
  print(`the tables' sizes are drawn in ${flags.chart}`)
}

const [directory] = positionals
if (directory === undefined || ratingsIn(directory) === undefined) {
  process.stderr.write(
    `there is no MovieLens 1M in ${directory ?? '(no directory given)'}\n${usage}\n`,
  )
  process.exitCode = 2
} else {
  await main(directory)
}
