import { expect, test } from 'vitest'

import { ServiceError } from '../../src/base/errors.ts'
import { fromPlain, toPlain } from '../../src/trainer/trainer-protocol.ts'

test('an operating error crosses the threads as what it was', () => {
  const error = new ServiceError('CHECKPOINT_INCOMPATIBLE', { sequence: 3, fields: 'spec.dim' })
  const crossed = fromPlain(structuredClone(toPlain(error)))
  expect(crossed).toMatchObject({ code: error.code, message: error.message })
  expect(crossed.details).toEqual(error.details)
})

test('a bug crosses the threads with where it happened', () => {
  const crossed = fromPlain(structuredClone(toPlain(new TypeError('x is not a function'))))
  expect(crossed.code).toBe('TRAINER_FAILED')
  expect(crossed.message).toMatch(/x is not a function[^]*trainer-protocol\.test/)
  expect(fromPlain(toPlain('just a word')).message).toMatch(/just a word/)
})
