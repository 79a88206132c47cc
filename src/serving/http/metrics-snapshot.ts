/**
 * What the rest of the process hands over at each scrape, as plain data, and how it is named for
 * Prometheus. Every part is optional: what a process has no role for, it does not report.
 */
import type { Family, HistogramFamily, HistogramView, Sample } from './exposition.ts'
import { fleetFamilies, type FleetView } from './fleet-metrics.ts'
import { logFamilies, type LogReaderView } from './log-metrics.ts'
import { tierFamilies, type TierView } from './tier-metrics.ts'
import { versionFamilies, type VersionsMetrics } from './version-metrics.ts'

interface RankingView {
  readonly hr10: number
  readonly ndcg10: number
  readonly mrr10: number
  readonly evaluated: number
}

interface TableView {
  readonly name: string
  readonly rows: number
  readonly capacityRows: number
  readonly bytes: number
  readonly admitted: number
  readonly refused: number
  readonly evicted: number
  readonly loadFactor?: number
  readonly evictionAgeMs?: number
  /** Of a table whose rows are not all in memory. */
  readonly tier?: TierView
  readonly memory?: {
    readonly found: number
    readonly missing: number
    readonly longestPath: number
    readonly rowsByCount: readonly number[]
    readonly restrictSteps: number
    readonly restrictMs: number
    readonly longestRestrictMs: number
  }
  readonly admission?: {
    readonly admitted: number
    readonly refused: number
    readonly tracked: number
    readonly falsePositiveRate: number
  }
}

/** Counts are since the start of the process; times epoch ms. */
export interface MetricsSnapshot {
  /** From acceptance to visible, by stage, in milliseconds. */
  readonly freshness?: Readonly<Record<'fact' | 'parameter' | 'index', HistogramView>>
  readonly alignment?:
    | { readonly recall10: number; readonly recall100: number; readonly items: number }
    | undefined
  readonly trainer?: {
    /** What computes the towers. */
    readonly engine?: string
    readonly steps: number
    readonly events: number
    readonly examples: number
    readonly loss: number
    readonly guardTrips: number
    readonly guardRollbacks: number
    /** Events in the log that are not yet trained on. */
    readonly lagEvents: number
    /** Acceptance of the newest event trained on; 0: none. */
    readonly watermarkAt: number
  }
  /** Progressive metrics: the model's and its baselines', by name. */
  readonly evaluation?: Readonly<Record<string, RankingView>>
  readonly tables?: readonly TableView[]
  readonly facts?: {
    readonly items: number
    readonly users: number
    readonly events: number
    readonly lagEvents: number
  }
  readonly index?: {
    readonly items: number
    readonly capacityItems: number
    readonly bytes: number
    /** Items waiting to be embedded again. */
    readonly queued: number
    /** Model versions between the newest and the oldest vector. */
    readonly versionSpread: number
    /** Of an index that has parted its items into leaves. */
    readonly tree?: {
      readonly leaves: number
      readonly effort: number
      readonly recall: number
      readonly grown: number
      readonly rejected: number
      readonly largestLeaf: number
    }
  }
  readonly sync?: {
    readonly sequence: number
    readonly deltas: number
    readonly resyncs: number
    readonly isConnected: boolean
  }
  readonly log?: { readonly bytes: number }
  /** Where there are several of the model. */
  readonly versions?: VersionsMetrics
  /** Of a log that is a topic: who reads it in this process. */
  readonly readers?: readonly LogReaderView[]
  /** Where processes share the work. */
  readonly fleet?: FleetView
  readonly checkpoints?: {
    readonly written: number
    readonly lastAt: number
    readonly lastBytes: number
    readonly lastSeconds: number
  }
}

type Scalar = readonly [
  name: string,
  help: string,
  read: (snapshot: MetricsSnapshot) => number | undefined,
]

/** What is not there is not shown. A name that ends in `_total` is a counter, any other a gauge. */
const scalars: readonly Scalar[] = [
  ['freshet_alignment_indexed_items', 'Items of the last audit', (s) => s.alignment?.items],
  ['freshet_trainer_steps_total', 'Batches trained', (s) => s.trainer?.steps],
  ['freshet_trainer_events_total', 'Events folded by the trainer', (s) => s.trainer?.events],
  ['freshet_trainer_examples_total', 'Examples trained on', (s) => s.trainer?.examples],
  ['freshet_trainer_loss_nats', 'Loss of the last batches, smoothed', (s) => s.trainer?.loss],
  [
    'freshet_trainer_guard_trips_total',
    'Batches that the guard refused',
    (s) => s.trainer?.guardTrips,
  ],
  [
    'freshet_trainer_rollbacks_total',
    'Returns to an earlier checkpoint, asked for by the guard',
    (s) => s.trainer?.guardRollbacks,
  ],
  ['freshet_trainer_lag_events', 'Events not yet trained on', (s) => s.trainer?.lagEvents],
  [
    'freshet_trainer_watermark_timestamp_seconds',
    'Acceptance of the newest event trained on',
    (s) => seconds(s.trainer?.watermarkAt),
  ],
  ['freshet_facts_items', 'Items known', (s) => s.facts?.items],
  ['freshet_facts_users', 'Users known', (s) => s.facts?.users],
  ['freshet_facts_events_total', 'Events folded by the replica', (s) => s.facts?.events],
  ['freshet_facts_lag_events', 'Events not yet folded', (s) => s.facts?.lagEvents],
  ['freshet_index_size_items', 'Items that can be found', (s) => s.index?.items],
  ['freshet_index_capacity_items', 'Items that fit', (s) => s.index?.capacityItems],
  ['freshet_index_memory_bytes', 'Memory of the index', (s) => s.index?.bytes],
  ['freshet_index_queued_items', 'Items to be embedded again', (s) => s.index?.queued],
  [
    'freshet_alignment_version_spread_steps',
    'Model versions between the newest and the oldest vector',
    (s) => s.index?.versionSpread,
  ],
  ['freshet_index_leaves', 'Leaves of the index', (s) => s.index?.tree?.leaves],
  [
    'freshet_index_effort_ratio',
    'Effort of a search that names none',
    (s) => s.index?.tree?.effort,
  ],
  [
    'freshet_index_recall10_ratio',
    'Recall at that effort, by the last audit of the index',
    (s) => s.index?.tree?.recall,
  ],
  ['freshet_index_grown_total', 'Trees that took over', (s) => s.index?.tree?.grown],
  [
    'freshet_index_largest_leaf_items',
    'Items of the fullest leaf: far above items over leaves, searches are dear',
    (s) => s.index?.tree?.largestLeaf,
  ],
  [
    'freshet_index_rejected_total',
    'Trees that were no better than the one before',
    (s) => s.index?.tree?.rejected,
  ],
  ['freshet_sync_sequence_deltas', 'Sequence of the last delta applied', (s) => s.sync?.sequence],
  ['freshet_sync_applied_deltas_total', 'Deltas applied', (s) => s.sync?.deltas],
  ['freshet_sync_resyncs_total', 'Times that everything was sent again', (s) => s.sync?.resyncs],
  [
    'freshet_sync_connected',
    '1: nothing keeps deltas from coming; 0: Redis is away',
    (s) => s.sync && Number(s.sync.isConnected),
  ],
  ['freshet_log_size_bytes', 'Bytes that the log keeps', (s) => s.log?.bytes],
  ['freshet_checkpoint_written_total', 'Checkpoints written', (s) => s.checkpoints?.written],
  [
    'freshet_checkpoint_last_timestamp_seconds',
    'When the last checkpoint was written',
    (s) => seconds(s.checkpoints?.lastAt),
  ],
  ['freshet_checkpoint_last_size_bytes', 'Size of the last one', (s) => s.checkpoints?.lastBytes],
  [
    'freshet_checkpoint_last_duration_seconds',
    'How long the last one took',
    (s) => s.checkpoints?.lastSeconds,
  ],
]

type Labelled = readonly [
  name: string,
  help: string,
  labelNames: readonly string[],
  read: (snapshot: MetricsSnapshot) => readonly Sample[],
]

const tables = (
  { tables: views = [] }: MetricsSnapshot,
  read: (table: TableView) => number,
): readonly Sample[] => views.map((table) => [[table.name], read(table)])

/** What only some tables report. */
const tablesWith = (
  { tables: views = [] }: MetricsSnapshot,
  read: (table: TableView) => number | undefined,
): readonly Sample[] =>
  views.flatMap((table) => one(read(table)).map(([, value]): Sample => [[table.name], value]))

/** Rows by the least count of their bin: 0, 1, 2, 4, ... */
const countSamples = ({ tables: views = [] }: MetricsSnapshot): readonly Sample[] =>
  views.flatMap(({ name, memory }) =>
    (memory?.rowsByCount ?? []).map((rows, bin): Sample => [
      [name, String(bin === 0 ? 0 : 2 ** (bin - 1))],
      rows,
    ]),
  )

const lookupSamples = ({ tables: views = [] }: MetricsSnapshot): readonly Sample[] =>
  views.flatMap(({ name, memory }): readonly Sample[] =>
    memory === undefined
      ? []
      : [
          [[name, 'found'], memory.found],
          [[name, 'missing'], memory.missing],
        ],
  )

const admissionSamples = ({ tables: views = [] }: MetricsSnapshot): readonly Sample[] =>
  views.flatMap(({ name, admission }): readonly Sample[] =>
    admission === undefined
      ? []
      : [
          [[name, 'admitted'], admission.admitted],
          [[name, 'refused'], admission.refused],
        ],
  )

const rankings = (
  { evaluation = {} }: MetricsSnapshot,
  read: (ranking: RankingView) => number,
): readonly Sample[] =>
  Object.entries(evaluation).map(([ranker, ranking]) => [[ranker], read(ranking)])

const labelled: readonly Labelled[] = [
  [
    'freshet_trainer_engine_info',
    'What computes the towers',
    ['engine'],
    ({ trainer }) => (trainer?.engine === undefined ? [] : [[[trainer.engine], 1]]),
  ],
  [
    'freshet_alignment_recall_ratio',
    'Items of exact search with current parameters that the live index finds',
    ['k'],
    ({ alignment }) =>
      alignment === undefined
        ? []
        : [
            [['10'], alignment.recall10],
            [['100'], alignment.recall100],
          ],
  ],
  [
    'freshet_evaluation_hit_ratio',
    'Progressive HR@10 over the whole catalogue, windowed',
    ['ranker'],
    (s) => rankings(s, ({ hr10 }) => hr10),
  ],
  [
    'freshet_evaluation_ndcg_ratio',
    'Progressive NDCG@10, windowed',
    ['ranker'],
    (s) => rankings(s, ({ ndcg10 }) => ndcg10),
  ],
  [
    'freshet_evaluation_mrr_ratio',
    'Progressive MRR@10, windowed',
    ['ranker'],
    (s) => rankings(s, ({ mrr10 }) => mrr10),
  ],
  [
    'freshet_evaluation_window_examples',
    'Examples behind the progressive metrics',
    ['ranker'],
    (s) => rankings(s, ({ evaluated }) => evaluated),
  ],
  ['freshet_table_size_rows', 'Rows in use', ['table'], (s) => tables(s, ({ rows }) => rows)],
  [
    'freshet_table_capacity_rows',
    'Rows that fit',
    ['table'],
    (s) => tables(s, ({ capacityRows }) => capacityRows),
  ],
  [
    'freshet_table_memory_bytes',
    'Memory reserved',
    ['table'],
    (s) => tables(s, ({ bytes }) => bytes),
  ],
  [
    'freshet_table_admitted_rows_total',
    'Keys that got a row',
    ['table'],
    (s) => tables(s, ({ admitted }) => admitted),
  ],
  [
    'freshet_table_refused_rows_total',
    'Keys that got none because the table was full',
    ['table'],
    (s) => tables(s, ({ refused }) => refused),
  ],
  [
    'freshet_table_evicted_rows_total',
    'Rows that restrict took',
    ['table'],
    (s) => tables(s, ({ evicted }) => evicted),
  ],
  [
    'freshet_table_load_ratio',
    'Slots of the index in use',
    ['table'],
    (s) => tablesWith(s, ({ loadFactor }) => loadFactor),
  ],
  [
    'freshet_table_lookups_total',
    'Keys looked up that had a row, or had none',
    ['table', 'result'],
    lookupSamples,
  ],
  [
    'freshet_table_admission_keys_total',
    'Keys without a row put before admission, by its answer',
    ['table', 'result'],
    admissionSamples,
  ],
  [
    'freshet_table_admission_tracked_keys',
    'Keys without a row that are being counted',
    ['table'],
    (s) => tablesWith(s, ({ admission }) => admission?.tracked),
  ],
  [
    'freshet_table_admission_false_positive_ratio',
    'Chance that a key never seen is admitted at once, estimated',
    ['table'],
    (s) => tablesWith(s, ({ admission }) => admission?.falsePositiveRate),
  ],
  [
    'freshet_table_eviction_age_seconds',
    'Mean time since evicted rows were last seen',
    ['table'],
    (s) => tablesWith(s, ({ evictionAgeMs }) => seconds(evictionAgeMs)),
  ],
  [
    'freshet_table_count_rows',
    'Rows whose count is at least this and below twice as much, from a sample',
    ['table', 'count'],
    countSamples,
  ],
  [
    'freshet_table_longest_path_keys',
    'Most keys that moved in the index to make room for another',
    ['table'],
    (s) => tablesWith(s, ({ memory }) => memory?.longestPath),
  ],
  [
    'freshet_table_restrict_steps_total',
    'Steps of restricts between batches',
    ['table'],
    (s) => tablesWith(s, ({ memory }) => memory?.restrictSteps),
  ],
  [
    'freshet_table_restrict_seconds_total',
    'Time that batches waited for them',
    ['table'],
    (s) => tablesWith(s, ({ memory }) => seconds(memory?.restrictMs)),
  ],
  [
    'freshet_table_restrict_longest_seconds',
    'The longest of these waits',
    ['table'],
    (s) => tablesWith(s, ({ memory }) => seconds(memory?.longestRestrictMs)),
  ],
]

/** Everything in a snapshot but its histograms. */
export const familiesOf = (snapshot: MetricsSnapshot): readonly Family[] => [
  ...scalars.map(([name, help, read]) => family(name, help, [], one(read(snapshot)))),
  ...labelled.map(([name, help, labels, read]) => family(name, help, labels, read(snapshot))),
  ...tierFamilies(snapshot.tables ?? []),
  ...fleetFamilies(snapshot.fleet ?? {}),
  ...logFamilies(snapshot.readers ?? []),
  ...versionFamilies(snapshot.versions),
]

export const histogramsOf = ({ freshness }: MetricsSnapshot): readonly HistogramFamily[] => [
  {
    name: 'freshet_freshness_duration_seconds',
    help: 'From the acceptance of an event to its effect on queries, by stage',
    labelNames: ['stage'],
    scale: 0.001,
    series: Object.entries(freshness ?? {}).map(([stage, view]) => [[stage], view]),
  },
]

const family = (
  name: string,
  help: string,
  labelNames: readonly string[],
  samples: readonly Sample[],
): Family => ({
  kind: name.endsWith('_total') ? 'counter' : 'gauge',
  name,
  help,
  labelNames,
  samples,
})

/** A sample without labels; none of a value that is not there. */
const one = (value: number | undefined): Sample[] => (value === undefined ? [] : [[[], value]])

const seconds = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : ms / 1_000
