import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { loadConfig, parseOverride } from '../../../src/app/config/config.ts'
import { evaluate } from '../../../src/app/evaluation/evaluate.ts'
import { readInteractions } from '../../../src/app/evaluation/read-interactions.ts'
import { parseSplit } from '../../../src/app/evaluation/split.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { Directory } from '../small-service.ts'

/** Two kinds of users and items; who is even likes what is even. */
function twoTastes(file: string): void {
  const random = seededRandom(1)
  const lines = Array.from({ length: 3_000 }, (_, i) => {
    const user = random.integer(60)
    const item = 2 * random.integer(20) + (user % 2)
    return `${user}\t${item}\t5\t${1_000_000 + i}`
  })
  writeFileSync(file, [...lines, 'not a row'].join('\n'))
}

const fortyTitles = Array.from({ length: 40 }, (_, i) => `${i}|film ${i}`).join('\n')

const config = loadConfig({
  fallback: 'movielens',
  environment: {},
  overrides: ['model.batch.maxExamples=128', 'model.score.temperature=1'].map(parseOverride),
}).config

const settings = { config, epochs: 4, threads: 1, clock: systemClock, progress: () => undefined }

test('learns two tastes from a file, by title, far beyond chance', async () => {
  using directory = new Directory()
  const [file, titles] = [join(directory.path, 'rows.tsv'), join(directory.path, 'titles')]
  twoTastes(file)
  writeFileSync(titles, fortyTitles)
  const { interactions, rejected } = await readInteractions({
    files: [file],
    rejectsFile: join(directory.path, 'rejects'),
  })
  expect(interactions).toHaveLength(3_000)
  expect(Object.values(rejected)).toEqual([1])

  const data = { all: interactions, split: parseSplit('random:2500/500:7') }
  const plain = { ...settings, data, maskTrain: false, titles, negatives: undefined }
  const result = await evaluate(plain)
  // Chance is .5: twenty of forty items.
  expect(result.metrics['hr20']).toBeGreaterThan(0.9)
  expect(result).toMatchObject({ evaluated: 500, counts: { train: 2500, users: 60, items: 40 } })

  const again = await evaluate(plain)
  expect(again.metrics).toEqual(result.metrics)

  const negatives = join(directory.path, 'negatives')
  const given = Array.from({ length: 60 }, (_, user) => `(${user},0)\t${(user + 1) % 2}\t3\t5`)
  writeFileSync(negatives, given.join('\n'))
  const masked = await evaluate({ ...plain, maskTrain: true, negatives })
  expect(masked.metrics['hr5']).toBeLessThan(1)
  rmSync(file)
})

test('learning rates that fall to nothing learn less than constant ones, and more than nothing', async () => {
  using directory = new Directory()
  const [file, titles] = [join(directory.path, 'rows.tsv'), join(directory.path, 'titles')]
  twoTastes(file)
  writeFileSync(titles, fortyTitles)
  const { interactions } = await readInteractions({ files: [file] })
  const data = { all: interactions, split: parseSplit('random:2500/500:7') }
  const lossWith = async (finalRate: number, rate: number): Promise<number> => {
    const { film, user } = { film: `model.tables.1.optimizer`, user: `model.tables.0.optimizer` }
    const overrides = [
      `${film}.rate=${rate}`,
      `${user}.rate=${rate}`,
      'model.batch.maxExamples=128',
    ]
    const set = [...overrides, `model.offline.finalRate=${finalRate}`].map(parseOverride)
    const loaded = loadConfig({ fallback: 'movielens', environment: {}, overrides: set })
    const plain = { ...settings, config: loaded.config, data, maskTrain: false }
    const { loss } = await evaluate({ ...plain, titles, negatives: undefined })
    return loss
  }
  const [constant, falling, tiny] = [
    await lossWith(1, 0.05),
    await lossWith(0, 0.05),
    await lossWith(1, 1e-9),
  ]
  // Steps half as large on the average have learned less, but far more than nothing.
  expect(falling).toBeGreaterThan(constant)
  expect(falling).toBeLessThan(tiny - (tiny - constant) / 4)
})

test('histories are what came before, whatever the order of a file', async () => {
  using directory = new Directory()
  const file = join(directory.path, 'rows.tsv')
  twoTastes(file)
  const { interactions } = await readInteractions({ files: [file] })
  const [train, held] = [interactions.slice(0, 2_500), interactions.slice(2_500)]
  const sequence = { kind: 'sequence', name: 'history', table: 'film' }
  const films = [{ kind: 'id', name: 'film', table: 'film' }]
  const overrides = [
    'model.batch.maxExamples=128',
    'model.facts.historyLength=5',
    `model.towers.query.features=[${JSON.stringify(sequence)}]`,
    `model.towers.candidate.features=${JSON.stringify(films)}`,
  ].map(parseOverride)
  const { config: ordered } = loadConfig({ fallback: 'movielens', environment: {}, overrides })
  const plain = { ...settings, config: ordered, titles: undefined, negatives: undefined }
  const results = []
  for (const part of [train, train.toReversed()]) {
    const found = await evaluate({ ...plain, data: { train: part, test: held }, maskTrain: false })
    results.push(found.metrics)
  }
  expect(results[1]).toEqual(results[0])
})

test('an empty part is refused', async () => {
  const options = { ...settings, maskTrain: false, titles: undefined, negatives: undefined }
  await expect(evaluate({ ...options, data: { train: [], test: [] } })).rejects.toThrow(/no lines/)
})
