import { expect, test } from 'vitest'

import { familyText, histogramText } from '../../../src/serving/http/exposition.ts'
import { Metrics } from '../../../src/serving/http/metrics.ts'
import { openHttp } from '../../support/http-service.ts'

const histogram = { bounds: [10, 20], counts: [3, 2, 1], sum: 90, count: 6 }
const ranking = { hr10: 0.7, ndcg10: 0.5, mrr10: 0.4, evaluated: 2_000 }
const table = {
  name: 'items',
  rows: 10,
  capacityRows: 100,
  bytes: 6_400,
  admitted: 30,
  refused: 2,
  evicted: 20,
  loadFactor: 0.25,
  evictionAgeMs: 90_000,
  memory: {
    found: 70,
    missing: 7,
    longestPath: 3,
    rowsByCount: [1, 2, 3],
    restrictSteps: 4,
    restrictMs: 30,
    longestRestrictMs: 9,
  },
  admission: { admitted: 30, refused: 400, tracked: 50, falsePositiveRate: 0.01 },
}

const tier = {
  memoryRows: 100,
  cachedRows: 90,
  pinnedRows: 20,
  lookups: 1000,
  hits: 900,
  fetched: 80,
  prefetched: 70,
  state: 'unavailable',
  flushed: 12,
  flushes: 3,
  flushMs: 250,
  flushedRows: 60,
  losses: 1,
  waitedMs: 1500,
} as const

/** Everything that the rest of the process can report. */
const everything = {
  freshness: { fact: histogram, parameter: histogram, index: histogram },
  alignment: { recall10: 0.99, recall100: 0.97, items: 50_000 },
  trainer: {
    steps: 9,
    events: 100,
    examples: 90,
    loss: 4.2,
    guardTrips: 1,
    guardRollbacks: 0,
    lagEvents: 12,
    watermarkAt: 1_700_000_000_000,
  },
  evaluation: { freshet: ranking, recentlyPopular: { ...ranking, hr10: 0.3 } },
  tables: [table, { ...table, name: 'a "b"\\c\n', tier }],
  facts: { items: 5, users: 6, events: 100, lagEvents: 0 },
  index: { items: 5, capacityItems: 10, bytes: 640, queued: 2, versionSpread: 4 },
  sync: { sequence: 8, deltas: 8, resyncs: 1, isConnected: true },
  log: { bytes: 10_000 },
  readers: [
    {
      role: 'trainer',
      isUp: false,
      events: 90,
      deadLetters: 3,
      lostLetters: 1,
      fetches: 7,
      failures: 2,
      watermarks: { 0: 1_700_000_000_000 },
      partitions: [{ partition: 1, position: 40, end: 50, lag: 10 }],
    },
  ],
  fleet: {
    lease: { isActive: true, isStandby: false, epoch: 7, holder: 'host:1' },
    published: {
      epoch: 7,
      sequence: 40,
      keptDeltas: 5,
      keptBytes: 500,
      snapshotSequence: 30,
      snapshotAt: 1_700_000_000_000,
      readers: [
        { reader: 'a', epoch: 7, sequence: 38, silentMs: 250 },
        { reader: 'b', epoch: 6, sequence: 99, silentMs: 1_000 },
      ],
      failure: 'it does not answer',
    },
    queues: [{ name: 'restrict', waiting: 1, active: 0, delayed: 2 }],
  },
  checkpoints: { written: 2, lastAt: 1_700_000_000_000, lastBytes: 5_000, lastSeconds: 0.2 },
}

async function textOf(metrics: Metrics): Promise<string[]> {
  return (await metrics.text()).split('\n')
}

test('everything that is reported is shown under its name', async () => {
  const metrics = new Metrics()
  metrics.attach(() => everything)
  metrics.observeFsync(0.002)
  const lines = await textOf(metrics)
  for (const line of [
    'freshet_freshness_duration_seconds_bucket{stage="fact",le="0.01"} 3',
    'freshet_freshness_duration_seconds_bucket{stage="fact",le="0.02"} 5',
    'freshet_freshness_duration_seconds_bucket{stage="index",le="+Inf"} 6',
    'freshet_freshness_duration_seconds_sum{stage="parameter"} 0.09',
    'freshet_freshness_duration_seconds_count{stage="parameter"} 6',
    'freshet_alignment_recall_ratio{k="10"} 0.99',
    'freshet_alignment_version_spread_steps 4',
    'freshet_evaluation_hit_ratio{ranker="freshet"} 0.7',
    'freshet_evaluation_hit_ratio{ranker="recentlyPopular"} 0.3',
    'freshet_table_size_rows{table="items"} 10',
    'freshet_table_evicted_rows_total{table="a \\"b\\"\\\\c\\n"} 20',
    'freshet_tier_store_up{table="a \\"b\\"\\\\c\\n"} 0',
    'freshet_tier_waited_seconds_total{table="a \\"b\\"\\\\c\\n"} 1.5',
    'freshet_table_load_ratio{table="items"} 0.25',
    'freshet_table_eviction_age_seconds{table="items"} 90',
    'freshet_table_lookups_total{table="items",result="found"} 70',
    'freshet_table_lookups_total{table="items",result="missing"} 7',
    'freshet_table_admission_keys_total{table="items",result="refused"} 400',
    'freshet_table_admission_tracked_keys{table="items"} 50',
    'freshet_table_admission_false_positive_ratio{table="items"} 0.01',
    'freshet_table_longest_path_keys{table="items"} 3',
    'freshet_table_count_rows{table="items",count="0"} 1',
    'freshet_table_count_rows{table="items",count="2"} 3',
    'freshet_table_restrict_steps_total{table="items"} 4',
    'freshet_table_restrict_seconds_total{table="items"} 0.03',
    'freshet_table_restrict_longest_seconds{table="items"} 0.009',
    'freshet_trainer_watermark_timestamp_seconds 1700000000',
    'freshet_log_size_bytes 10000',
    'freshet_log_brokers_up{role="trainer"} 0',
    'freshet_log_read_events_total{role="trainer"} 90',
    'freshet_log_dead_letters_total{role="trainer"} 3',
    'freshet_log_lost_letters_total{role="trainer"} 1',
    'freshet_log_fetches_total{role="trainer"} 7',
    'freshet_log_fetch_failures_total{role="trainer"} 2',
    'freshet_log_lag_messages{role="trainer",partition="1"} 10',
    'freshet_log_position_offset{role="trainer",partition="1"} 40',
    'freshet_log_end_offset{role="trainer",partition="1"} 50',
    'freshet_log_watermark_timestamp_seconds{role="trainer",partition="0"} 1700000000',
    'freshet_sync_connected 1',
    'freshet_lease_active 1',
    'freshet_lease_standby 0',
    'freshet_lease_epoch 7',
    'freshet_lease_holder_info{holder="host:1"} 1',
    'freshet_sync_published_sequence_deltas 40',
    'freshet_sync_kept_deltas 5',
    'freshet_sync_kept_size_bytes 500',
    'freshet_sync_snapshot_sequence_deltas 30',
    'freshet_sync_snapshot_timestamp_seconds 1700000000',
    'freshet_sync_server_up 0',
    'freshet_sync_readers 2',
    'freshet_sync_reader_lag_deltas{reader="a"} 2',
    'freshet_sync_reader_lag_deltas{reader="b"} 40',
    'freshet_sync_reader_silent_seconds{reader="a"} 0.25',
    'freshet_jobs_queue_runs{job="restrict",state="waiting"} 1',
    'freshet_jobs_queue_runs{job="restrict",state="delayed"} 2',
    'freshet_log_fsync_duration_seconds_sum 0.002',
  ]) {
    expect(lines).toContain(line)
  }
})

test('a fine histogram is shown with fewer bounds, and the counts below them', () => {
  const bounds = Array.from({ length: 40 }, (_, i) => i + 1)
  const series = [[['a'], { bounds, counts: bounds.map(() => 1), sum: 820, count: 40 }]] as const
  const named = { name: 'freshet_x_y', help: 'h', labelNames: ['of'] }
  const text = histogramText({ ...named, scale: 1, series })
  const lines = text.split('\n').filter((line) => line.includes('_bucket'))
  expect(lines).toHaveLength(21)
  expect(lines[0]).toBe('freshet_x_y_bucket{of="a",le="2"} 2')
  expect(lines[19]).toBe('freshet_x_y_bucket{of="a",le="40"} 40')
})

test('what nobody reports is not shown', async () => {
  const text = await new Metrics().text()
  expect(text).not.toMatch(/freshet_(trainer|table|index|freshness|alignment|sync|checkpoint)_/)
})

test('names are freshet_<subsystem>_<what>_<unit>, and counters alone end in _total', async () => {
  const metrics = new Metrics()
  metrics.attach(() => everything)
  metrics.countRequest({ route: '/v1/items', method: 'GET', status: 200, seconds: 0.1 })
  const types = (await textOf(metrics)).filter((line) => line.startsWith('# TYPE '))
  expect(types.length).toBeGreaterThan(35)
  for (const line of types) {
    const [, , name = '', type] = line.split(' ')
    expect(name).toMatch(/^freshet(_[a-z]+){2,}$/)
    expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter'])
  }
  expect(new Set(types).size).toBe(types.length)
})

test('requests are counted by route and status, never by id', async () => {
  await using http = await openHttp()
  await http.call('GET', '/v1/items/secret-id')
  await http.call('GET', '/nope/secret-id')
  await http.call('PUT', '/v1/items/secret-id', {})
  const { text, headers } = await http.call('GET', '/metrics')
  expect(headers['content-type']).toContain('text/plain; version=0.0.4')
  expect(text).not.toContain('secret-id')
  for (const labels of [
    'route="/v1/items/:id",method="GET",status="404"',
    'route="unknown",method="GET",status="404"',
    'route="/v1/items/:id",method="PUT",status="200"',
  ]) {
    expect(text).toContain(`freshet_http_request_duration_seconds_count{${labels}} 1`)
  }
})

test('events, refusals, recommendations and appends are counted', async () => {
  await using http = await openHttp({ ratePerSecond: 1, rateBurst: 3 })
  const click = { userId: 'u', itemId: 'i', type: 'click' }
  await http.call('POST', '/v1/events', [click, click, 7])
  await http.call('GET', '/v1/recommendations/nobody')
  await http.call('GET', '/v1/recommendations/u')
  await http.call('GET', '/v1/recommendations/u')
  const text = await http.dependencies.metrics.text()
  for (const line of [
    'freshet_ingest_accepted_events_total 2',
    'freshet_ingest_rejected_events_total{code="EVENT_INVALID"} 1',
    'freshet_recommendations_answered_total{fallback="popularity"} 1',
    'freshet_recommendations_answered_total{fallback="none"} 1',
    'freshet_http_refused_requests_total{code="RATE_LIMITED"} 1',
    'freshet_log_append_duration_seconds_count 1',
    'freshet_http_in_flight_requests 0',
  ]) {
    expect(text.split('\n')).toContain(line)
  }
})

test('runs of jobs are counted', async () => {
  const metrics = new Metrics()
  const run = { id: '1', name: 'expire', payload: {}, progress: 1, startedAt: 1_000 }
  metrics.countJob({ ...run, state: 'done', finishedAt: 1_500 })
  const lines = await textOf(metrics)
  expect(lines).toContain('freshet_jobs_finished_total{job="expire",state="done"} 1')
  expect(lines).toContain('freshet_jobs_duration_seconds_sum{job="expire"} 0.5')
})

test('values that are no finite numbers are written as Prometheus has them', () => {
  const family = { kind: 'gauge', name: 'freshet_x_y', help: 'h', labelNames: ['of'] } as const
  const samples = [
    [['a'], Number.NaN],
    [['b'], Infinity],
    [['c'], -Infinity],
  ] as const
  expect(
    familyText({ ...family, samples })
      .split('\n')
      .slice(2, 5),
  ).toEqual(['freshet_x_y{of="a"} NaN', 'freshet_x_y{of="b"} +Inf', 'freshet_x_y{of="c"} -Inf'])
  expect(familyText({ ...family, samples: [] })).toBe('')
  const empty = { name: 'freshet_x_y', help: 'h', labelNames: ['of'], scale: 1, series: [] }
  expect(histogramText(empty)).toBe('')
})
