import { expect, test } from 'vitest'

import { loadConfig, parseOverride } from '../../src/app/config/config.ts'
import { trainerProcess } from '../../src/app/options.ts'

const nicenessOf = (roles: string): number | undefined => {
  const overrides = [`process.roles=[${roles}]`, 'process.trainer.niceness=7'].map(parseOverride)
  return trainerProcess(loadConfig({ environment: {}, overrides }).config).niceness
}

test('training stands behind the queries of its own process, and behind nothing else', () => {
  expect(nicenessOf('ingest, trainer, serving')).toBe(7)
  expect(nicenessOf('trainer')).toBe(0)
})
