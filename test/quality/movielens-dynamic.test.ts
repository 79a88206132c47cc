/**
 * The dynamic-embedding recipe on real ratings. The data may not be copied here, so the test runs
 * where it lies beside the project and says so where it does not.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { expect, test } from 'vitest'

import { ratingsIn, readMovieLens, split } from '../../examples/movielens-dynamic/movielens.ts'
import { Recipe, type TableKind } from '../../examples/movielens-dynamic/recipe.ts'
import { run } from '../support/cli.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const data = '../shared/data/ml-1m'
const isHere = ratingsIn(data) !== undefined
if (!isHere) process.stderr.write(`skipped: there is no MovieLens 1M in ${data}\n`)

test.runIf(isHere)(
  'on MovieLens 1M dynamic tables rank as static ones, and four fifths of the rows nearly so',
  { timeout: 240_000 },
  async () => {
    const all = readMovieLens(data, 60_000)
    const { train, held } = split(all, 1)
    const top100 = new Map<TableKind, number>()
    for (const kind of ['static', 'dynamic', 'restricted'] as const) {
      const recipe = await Recipe.create(all, train, { kind, seed: 1, threads: 1, batch: 1024 })
      for (let pass = 0; pass < 3; pass += 1) recipe.pass()
      top100.set(kind, recipe.topK(held)[4])
      const [user, title] = [recipe.vocabulary.user, recipe.vocabulary.title].map((rows) =>
        Math.floor(0.8 * rows),
      )
      for (const left of recipe.restricted) expect(left).toMatchObject({ user, title })
      expect(recipe.restricted).toHaveLength(kind === 'restricted' ? 3 : 0)
      await recipe.close()
    }
    const [fixed = 0, dynamic = 0, restricted = 0] = top100.values()
    expect(fixed).toBeGreaterThan(0.07)
    expect(Math.abs(dynamic - fixed)).toBeLessThanOrEqual(0.0002)
    expect(restricted).toBeGreaterThan(dynamic - 0.012)
  },
)

test.runIf(isHere)(
  'on MovieLens 1M as a stream a table for a tenth of the users predicts as well as one for all',
  { timeout: 240_000 },
  async () => {
    using directory = temporaryDirectory()
    const file = join(directory.path, 'by-time.csv')
    writeFileSync(file, byTime(readFileSync(ratingsIn(data) ?? '')))
    const flags = ['--config', 'examples/movielens-dynamic/stream.yaml', '--limit', '120000']
    const hr10 = async (...more: readonly string[]): Promise<number> => {
      const { json } = await run('replay', file, ...flags, ...more, '--json')
      return (json as { progressive: { hr10: number } }).progressive.hr10
    }
    const [restricted, whole] = [await hr10(), await hr10('--no-restrict')]
    expect(whole).toBeGreaterThan(0.2)
    expect(Math.abs(restricted - whole)).toBeLessThan(0.004)
  },
)

/** Ratings that have a time, in its order: user, film, seconds. */
function byTime(bytes: Uint8Array): string {
  const isPacked = bytes[0] === 0x1f
  const text = (isPacked ? gunzipSync(bytes) : Buffer.from(bytes)).toString()
  const rows = text.split('\n').flatMap((line) => {
    const fields = line.split(/::|,/)
    const seconds = Number(fields.at(-1))
    return seconds > 0 ? [{ line: `${fields[0]},${fields[1]},${seconds}`, seconds }] : []
  })
  const sorted = rows.toSorted((a, b) => a.seconds - b.seconds).map(({ line }) => line)
  return ['user_id,movie_id,timestamp', ...sorted].join('\n')
}
