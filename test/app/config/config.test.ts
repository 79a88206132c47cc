import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, describe, expect, test } from 'vitest'

import { options } from '../../../src/app/config/config-paths.ts'
import { jsonSchema } from '../../../src/app/config/config-schema.ts'
import {
  bundledConfig,
  environmentOverrides,
  loadConfig,
  type Override,
  parseOverride,
} from '../../../src/app/config/config.ts'

const directory = mkdtempSync(join(tmpdir(), 'freshet-config-'))
afterAll(() => rmSync(directory, { recursive: true }))

const load = (overrides: readonly Override[] = [], environment = {}) =>
  loadConfig({ environment, overrides })
const set = (...texts: readonly string[]) => load(texts.map(parseOverride))
const fromText = (text: string) => {
  const file = join(directory, 'config.yaml')
  writeFileSync(file, text)
  return loadConfig({ file, environment: {}, overrides: [] })
}

describe('the bundled configurations', () => {
  test.each(['shop', 'news', 'movielens'])('%s is valid', (name) => {
    const { config } = loadConfig({ fallback: name, environment: {}, overrides: [] })
    expect(config.model.name).toBe(name)
  })

  test('the shop is the default', () => {
    expect(load().source).toBe(bundledConfig('shop'))
  })
})

describe('a wrong configuration', () => {
  test('an unknown option gets the nearest right name and its path', () => {
    expect(() => set('process.http.prot=1')).toThrow(
      /process\.http\.prot: unknown option; did you mean "port"\?/,
    )
  })

  test('an unknown option inside a member of a list is found by its kind', () => {
    expect(() => set('model.tables.user.capacityRow=1')).toThrow(
      /model\.tables\[3\]\.capacityRow: unknown option; did you mean "capacityRows"\?/,
    )
  })

  test('a missing option is named', () => {
    expect(() => set('model.name=null')).toThrow(/model\.name: is missing/)
  })

  test.each([
    ['process.http.port=-1', /process\.http\.port/],
    ['process.http.port=many', /process\.http\.port/],
    ['process.log.fsync=often', /process\.log\.fsync/],
    ['model.score.temperature=0', /model\.score\.temperature/],
    ['model.score.temperature=.nan', /model\.score\.temperature/],
    ['model.tables.user.restrict.trigger=1', /restrict\.trigger: must not be below numReserved/],
    ['model.tables.user.capacityRows=10', /restrict\.trigger: must not be above capacityRows, 10/],
    ['model.tables.user.name=item', /another table is named "item" too/],
    ['model.tables.user.dim=16', /table "user" has dim 16, 32 is needed here/],
    ['model.towers.query.features.user.table=usr', /no table "usr"; did you mean "user"\?/],
    ['model.towers.query.features.user.name=device', /another feature is named "device" too/],
    ['model.facts.historyLength=3', /must not be above model\.facts\.historyLength, 3/],
    [
      'model.towers.candidate.features.item.kind=gap',
      /candidate\.features\[0\]\.kind: "gap" belongs to the query/,
    ],
    ['model.towers.query.features.history.of=items', /no feature "items".*; did you mean "item"\?/],
    ['model.towers.query.features.user.kind=uid', /query\.features\[1\]\.kind/],
  ])('%s is refused with its path', (text, message) => {
    expect(() => set(text)).toThrow(message)
  })

  test('several complaints are told at once', () => {
    expect(() => set('process.http.port=-1', 'process.log.fsync=often')).toThrow(
      /http\.port.*also .*log\.fsync/,
    )
  })

  test('who set a wrong value is named, not the file', () => {
    expect(() => set('process.http.port=many')).toThrow(
      /^--set process\.http\.port is invalid at process\.http\.port: /,
    )
    expect(() => load([], { FRESHET_HTTP_PORT: 'many' })).toThrow(/^FRESHET_HTTP_PORT is invalid/)
    expect(() => set('model.tables.user.name=item')).toThrow(/^--set model\.tables\.user\.name is/)
    expect(() => set('model.tables.user.dim=16')).toThrow(
      /shop\.yaml with --set model\.tables\.user\.dim is invalid at model\.towers/,
    )
    expect(() => set('process.log={fsync: often}')).toThrow(
      /^--set process\.log is invalid at process\.log\.fsync/,
    )
    expect(() => load([parseOverride('model.dim=0')], { FRESHET_HTTP_PORT: '-1' })).toThrow(
      /^--set model\.dim is invalid at model\.dim: .*also process\.http\.port: .*\(FRESHET_HTTP_PORT\)$/,
    )
    expect(() => fromText('process: { http: { port: -1 } }')).toThrow(/config\.yaml is invalid/)
  })

  test('of two that set it, the last; a secret is in no message', () => {
    const environment = { FRESHET_HTTP_PORT: '-1' }
    expect(() => load([parseOverride('process.http.port=-2')], environment)).toThrow(/^--set/)
    expect(() => set('process.redis.password.x=hush')).not.toThrow(/hush/)
  })

  test('a file that is no YAML says where', () => {
    expect(() => fromText('process: [')).toThrow(/not YAML: .* line 1/)
  })

  test('a file that is a list is refused', () => {
    expect(() => fromText('- 1')).toThrow(/expected names and values/)
  })

  test('a file that is not there says so', () => {
    expect(() => loadConfig({ file: '/none', environment: {}, overrides: [] })).toThrow(/ENOENT/)
  })

  test.each(['__proto__.x=1', 'process.__proto__.x=1', '=1', 'process', 'model.tables.none.dim=1'])(
    'the override %s is refused',
    (text) => {
      expect(() => set(text)).toThrow(/CONFIG|invalid/)
      expect(Object.prototype).not.toHaveProperty('x')
    },
  )
})

describe('overrides', () => {
  test('a file without a model has that of the shop', () => {
    const { config } = fromText('process: { http: { port: 9 } }')
    expect([config.model.name, config.process.http.port]).toEqual(['shop', 9])
  })

  test('an empty file is the shop with its defaults', () => {
    expect(fromText('').config.model.name).toBe('shop')
  })

  test('the environment overrides the file, and a flag the environment', () => {
    const environment = { FRESHET_HTTP_PORT: '1', FRESHET_MODEL_SEED: '7', OTHER: 'x' }
    const { config } = load([parseOverride('process.http.port=2')], environment)
    expect([config.process.http.port, config.model.seed]).toEqual([2, 7])
  })

  test('a variable that is text stays text', () => {
    expect(load([], { FRESHET_DATA_DIRECTORY: '123' }).config.process.dataDirectory).toBe('123')
  })

  test('FRESHET_CONFIG names the file', () => {
    const FRESHET_CONFIG = bundledConfig('news')
    expect(load([], { FRESHET_CONFIG }).config.model.name).toBe('news')
  })

  test('an unknown variable is refused with the nearest right one', () => {
    expect(() => environmentOverrides({ FRESHET_HTTP_PROT: '1' })).toThrow(/FRESHET_HTTP_PORT/)
  })

  test('null takes an option away', () => {
    const { config } = set('model.tables.user.restrict=null')
    expect(config.model.tables.find(({ name }) => name === 'user')).not.toHaveProperty('restrict')
  })

  test('the model hash depends on the model alone', () => {
    const { modelHash } = load()
    expect(set('process.http.port=1').modelHash).toBe(modelHash)
    expect(set('model.seed=2').modelHash).not.toBe(modelHash)
  })
})

describe('every option', () => {
  test('that can be set alone has a variable of its own and a description', () => {
    expect(options.length).toBeGreaterThan(40)
    expect(new Set(options.map(({ variable }) => variable)).size).toBe(options.length)
  })

  test('whose name ends in Ms or Bytes says its unit', () => {
    const timed = options.filter(({ path }) => /(Ms|Bytes)$/.test(path.at(-1) ?? ''))
    expect(timed.filter(({ unit }) => unit === undefined)).toEqual([])
  })

  test('is in the JSON schema', () => {
    expect(JSON.stringify(jsonSchema())).toContain('"retentionBytes"')
  })
})

const withFeature = (side: 'query' | 'candidate', feature: object, table: object = {}) => {
  const { config } = loadConfig({ fallback: 'shop', environment: {}, overrides: [] })
  const { model } = structuredClone(config)
  const { features } = model.towers[side]
  const tables = model.tables.map((one) => ({ ...one, ...table }))
  const towers = {
    ...model.towers,
    [side]: { ...model.towers[side], features: [...features, { name: 'extra', ...feature }] },
  }
  return fromText(JSON.stringify({ model: { ...model, tables, towers } }))
}

describe('features', () => {
  test('what is measured, vectors and times are declared with little', () => {
    const field = 'published'
    for (const feature of [
      { kind: 'numeric', field: 'price', transform: 'quantile', buckets: 8 },
      { kind: 'dense', field: 'embedding', dim: 16 },
      { kind: 'time', field },
    ]) {
      const { model } = withFeature('candidate', feature).config
      expect(model.towers.candidate.features.at(-1)).toMatchObject(feature)
    }
  })

  test('an item has no time of its own', () => {
    expect(() => withFeature('candidate', { kind: 'time' })).toThrow(/field: is needed/)
  })

  test('unknown ids need a row that they share', () => {
    const id = { kind: 'id', table: 'user', dropout: 0.1 }
    expect(() => withFeature('query', id)).toThrow(/dropout: table "user" needs an admission/)
    const admission = { kind: 'minCount', count: 2 }
    expect(withFeature('query', id, { admission }).config.model.tables[0]).toMatchObject({
      admission,
    })
  })
})
