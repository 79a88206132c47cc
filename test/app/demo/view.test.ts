import { expect, test } from 'vitest'

import { episodeLines, figures, heading } from '../../../src/app/demo/view.ts'
import { parseMetrics } from '../../../src/app/scrape.ts'

const empty = parseMetrics('')

test('figures stand under their headings', () => {
  const now = parseMetrics(
    [
      'freshet_ingest_accepted_events_total{kind="interaction"} 800',
      'freshet_trainer_examples_total 700',
      'freshet_evaluation_hit_ratio{ranker="model"} 0.4321',
      'freshet_facts_items 3000',
      'freshet_freshness_duration_seconds_bucket{stage="fact",le="0.004"} 10',
      'freshet_freshness_duration_seconds_bucket{stage="fact",le="+Inf"} 10',
    ].join('\n'),
  )
  const line = figures({ now, before: empty }, { atSeconds: 2, overSeconds: 2 })
  expect(line).toMatch(/ 2s +400 +350 +2\/4 +- +- +0\.432 +- +- +3,000$/)
  expect(line).toHaveLength(heading()[1].length)
})

test('before there is anything to show, dashes do', () => {
  const line = figures({ now: empty, before: empty }, { atSeconds: 0, overSeconds: 1 })
  expect(line).toMatch(/0s +0 +0 +- +- +- +- +- +- +-$/)
})

test('an episode marks what is new in the list', () => {
  const lines = [
    ...episodeLines({
      clicked: 'tent',
      before: ['lamp', 'tent'],
      after: ['lamp', 'stove'],
      tookMs: 4.26,
    }),
  ].join('\n')
  expect(lines).toContain('Ada clicks "tent"; 4.3 ms later')
  expect(lines).toMatch(/lamp +-> {3}lamp/)
  expect(lines).toMatch(/tent +-> \+ stove/)
})
