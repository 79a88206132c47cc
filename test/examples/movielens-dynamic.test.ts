import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'

import { expect, test } from 'vitest'

import { drawSizes } from '../../examples/movielens-dynamic/chart.ts'
import { type MovieLens, readMovieLens, split } from '../../examples/movielens-dynamic/movielens.ts'
import { Recipe, type RecipeOptions } from '../../examples/movielens-dynamic/recipe.ts'
import { assert } from '../../src/base/assert.ts'
import { seededRandom } from '../../src/base/random.ts'
import { MemoryTable } from '../../src/embedding/memory/memory-table.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const main = 'examples/movielens-dynamic/main.ts'

/** 200 users who like films by the first word of their titles; every fifth film is a rarity. */
function madeUp(ratings = 6_000): MovieLens {
  const random = seededRandom(1)
  const catalogue = Array.from({ length: 80 }, (_, i) => {
    return { id: String(i + 1), title: `Kind${i % 8} Film-${i}: ${i % 5} (19${10 + i})` }
  })
  const users = Array.from({ length: ratings }, () => random.integer(200))
  const films = Int32Array.from(users, (user) => {
    const kind = random.next() < 0.8 ? user % 8 : random.integer(8)
    return 8 * random.integer(10) + kind
  })
  return { catalogue, users: users.map(String), films }
}

const all = madeUp()
const { train, held } = split(all, 7)

async function trained(options: Pick<RecipeOptions, 'kind'>, passes = 3): Promise<Recipe> {
  const recipe = await Recipe.create(all, train, { ...options, seed: 1, threads: 1, batch: 256 })
  for (let pass = 0; pass < passes; pass += 1) recipe.pass()
  return recipe
}

test('each restrict leaves exactly four fifths of the ids', async () => {
  const recipe = await trained({ kind: 'restricted' })
  const { user, title } = recipe.vocabulary
  expect([user, title]).toEqual([200, expect.any(Number)])
  const left = { user: Math.floor(0.8 * user), title: Math.floor(0.8 * title) }
  // Every id turns up again in every pass, so that it is worth restricting again.
  expect(recipe.restricted.map(({ step }) => step)).toEqual([22, 44, 66])
  for (const sizes of recipe.restricted) expect(sizes).toMatchObject(left)
  expect(recipe.sizes.map(({ step }) => step)).toEqual([20, 40, 60])
  expect(recipe.tables.user.size).toBe(left.user)
  await recipe.close()
})

test('a dynamic table learns the same bits as a matrix with all rows', async () => {
  const [fixed, dynamic] = [await trained({ kind: 'static' }), await trained({ kind: 'dynamic' })]
  expect(dynamic.topK(held)).toEqual(fixed.topK(held))
  for (const name of ['user', 'title'] as const) {
    const table = dynamic.tables[name]
    assert(table instanceof MemoryTable, 'dynamic tables are such')
    for (const { keys, vectors } of table.export()) {
      const matrix = new Float32Array(vectors.length)
      fixed.tables[name].find(keys, matrix)
      expect(vectors).toEqual(matrix)
    }
  }
  expect(dynamic.sizes.at(-1)).toEqual({ step: 60, ...dynamic.vocabulary })
  await fixed.close()
  await dynamic.close()
})

test('it learns whom what is for, also when rows leave', async () => {
  const dynamic = await trained({ kind: 'dynamic' }, 20)
  const restricted = await trained({ kind: 'restricted' }, 20)
  const [, , ofDynamic] = dynamic.topK(held)
  const [, , ofRestricted] = restricted.topK(held)
  // By chance .125; nobody could do better than about .8.
  expect(ofDynamic).toBeGreaterThan(0.5)
  expect(ofRestricted).toBeGreaterThan(ofDynamic - 0.15)
  const chart = drawSizes(new Map([['restricted', restricted]]))
  expect(chart).toMatch(/^<svg .*<\/svg>\n$/s)
  expect(chart).toContain('all 200 users')
  expect(chart.length).toBeLessThan(20_000)
  await dynamic.close()
  await restricted.close()
})

test('reads what GroupLens distributes, or a table of interactions', () => {
  using directory = temporaryDirectory()
  const { path } = directory
  writeFileSync(join(path, 'movies.dat'), '5::Léon (1994)::Crime\n7::Heat::Crime\n', 'latin1')
  const expected = {
    catalogue: [
      { id: '5', title: 'Léon (1994)' },
      { id: '7', title: 'Heat' },
    ],
    users: ['1', '2'],
    films: Int32Array.of(1, 0),
  }
  const table = 'user_id,movie_id,rating\n1,7,5\n2,5,4\n'
  writeFileSync(join(path, 'interactions_all.csv.gz'), gzipSync(table))
  expect(readMovieLens(path)).toEqual(expected)
  writeFileSync(join(path, 'ratings.dat'), '1::7::5::1\n2::5::4::2\n3::5::4::2\n')
  expect(readMovieLens(path, 2)).toEqual(expected)
})

test('says where to get the data when there is none', async () => {
  using directory = temporaryDirectory()
  mkdirSync(join(directory.path, 'empty'))
  const failed = promisify(execFile)(process.execPath, [main, join(directory.path, 'empty')])
  await expect(failed).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/there is no MovieLens 1M in .*empty[^]*grouplens\.org/),
  })
})
