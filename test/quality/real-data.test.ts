/**
 * What the committed configurations learn from real interactions. The data may not be copied here, so
 * these tests run where it lies beside the project and say so where it does not.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'

import { expect, test } from 'vitest'

interface Metrics {
  readonly hr10: number
  readonly hr100: number
  readonly mrr10: number
}

const data = '../shared/data'
const clicks = `${data}/globo-news/clicks_days1-9.csv.gz`
const ratings = `${data}/ml-100k/u.data`
const limitMs = 240_000

const freshet = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
  const command = ['src/app/cli.ts', ...args, '--json']
  const { stdout } = await promisify(execFile)(process.execPath, command)
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
}

const isHere = (file: string): boolean => {
  const here = existsSync(file)
  if (!here) process.stderr.write(`skipped: there is no ${file}\n`)
  return here
}

test.runIf(isHere(clicks))(
  'on news clicks the model is far ahead of popularity, new articles included',
  { timeout: limitMs },
  async () => {
    const flags = ['--config', 'configs/news.yaml', '--limit', '60000']
    const report = await freshet('replay', clicks, ...flags)
    const { hr10, mrr10 } = report['progressive'] as Metrics
    const { recentlyPopular } = report['baselines'] as { recentlyPopular: Metrics }
    const { fresh } = report['cohorts'] as { fresh: Metrics }
    expect(hr10).toBeGreaterThan(0.69)
    expect(mrr10).toBeGreaterThan(0.35)
    expect(hr10).toBeGreaterThan(recentlyPopular.hr10 + 0.08)
    expect(fresh.hr10).toBeGreaterThan(0.25)
  },
)

test.runIf(isHere(ratings))(
  'on MovieLens 100K two towers on ids alone rank far better than popularity',
  { timeout: limitMs },
  async () => {
    const split = ['--split', 'random:80000/20000:42', '--titles', `${data}/ml-100k/u.item`]
    const flags = ['--config', 'configs/movielens.yaml', ...split]
    // A second thread would have to share its core with another test.
    const report = await freshet('evaluate', '--data', ratings, '--threads', '1', ...flags)
    const { hr10, hr100 } = report['metrics'] as Metrics
    expect(hr10).toBeGreaterThan(0.055)
    expect(hr100).toBeGreaterThan(0.4)
  },
)
