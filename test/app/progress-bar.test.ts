import { expect, test } from 'vitest'

import { lineOf } from '../../src/app/progress-bar.ts'

test('a bar says how much of what, how fast, and how long it will take', () => {
  const line = lineOf('sending', { done: 500, total: 2_000, seconds: 5 })
  expect(line).toBe('sending ██████░░░░░░░░░░░░░░░░░░ 25 % of 2,000 100/s, 15 s left')
})

test('without a total it counts', () => {
  expect(lineOf('reading', { done: 1_200, total: undefined, seconds: 2 })).toBe(
    'reading 1,200 600/s',
  )
})
