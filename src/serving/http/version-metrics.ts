/** What a process of several versions of the model says of each, and its names for Prometheus. */
import type { ExperimentView, VersionView } from '../versions/versions-desk.ts'
import type { Family, Sample } from './exposition.ts'

export interface VersionsMetrics {
  readonly versions: readonly VersionView[]
  readonly experiment?: ExperimentView
}

type Metric = readonly [
  name: string,
  help: string,
  read: (version: VersionView) => number | undefined,
]

const metrics: readonly Metric[] = [
  [
    'freshet_version_up',
    '1: the version can answer; 0: it warms up, or has failed',
    ({ state }) => Number(state === 'ready'),
  ],
  [
    'freshet_version_primary',
    '1: the version that answers whoever is given to no other',
    ({ role }) => Number(role === 'primary'),
  ],
  ['freshet_version_traffic_ratio', 'Share of the users', ({ percent }) => percent / 100],
  [
    'freshet_version_lag_events',
    'Events that its trainer has not learned yet',
    ({ training }) => training?.lagEvents,
  ],
  ['freshet_version_loss_nats', 'Loss of late', ({ training }) => training?.loss],
  ['freshet_version_rows', 'Rows of all its tables', ({ training }) => training?.rows],
  [
    'freshet_version_memory_bytes',
    "Memory of its trainer's tables and of its index",
    ({ training, index }) => training && training.tableBytes + (index?.bytes ?? 0),
  ],
  [
    'freshet_version_hr10_ratio',
    'HR@10 over the newest examples, each ranked before it was learned',
    ({ evaluation }) => evaluation?.model.hr10,
  ],
  [
    'freshet_version_ndcg10_ratio',
    'NDCG@10 over the newest examples',
    ({ evaluation }) => evaluation?.model.ndcg10,
  ],
  [
    'freshet_version_overlap_ratio',
    "Of its first ten items, those in the primary's",
    ({ overlap }) => overlap?.mean,
  ],
]

type Outcomes = ExperimentView['versions'][number]

/** Counts are since the experiment began, over restarts. */
const outcomes: readonly (readonly [string, string, (row: Outcomes) => number])[] = [
  ['freshet_experiment_answers_total', 'Answers recorded', ({ answers }) => answers],
  [
    'freshet_experiment_taken_answers_total',
    'Answers of which the user took something',
    ({ answersTaken }) => answersTaken,
  ],
  [
    'freshet_experiment_interactions_total',
    'Interactions of users who had an answer within the window',
    ({ interactions }) => interactions,
  ],
  [
    'freshet_experiment_hits_total',
    'Of these, with an item that had been recommended',
    ({ hits }) => hits,
  ],
]

/** Of the record itself. */
function recordFamilies(experiment: ExperimentView): readonly Family[] {
  const { recording, countedAt, dropped, forgotten } = experiment
  const alone = { labelNames: [] }
  const isCounted = recording && countedAt > 0
  return [
    {
      ...alone,
      kind: 'counter',
      name: 'freshet_experiment_dropped_answers_total',
      help: 'Answers of this process that could not be recorded',
      samples: [[[], dropped]],
    },
    {
      ...alone,
      kind: 'counter',
      name: 'freshet_experiment_forgotten_answers_total',
      help: 'Answers that were too many to be remembered for the whole window',
      samples: [[[], forgotten]],
    },
    {
      ...alone,
      kind: 'gauge',
      name: 'freshet_experiment_counted_timestamp_seconds',
      help: 'When somebody counted what came of answers; absent: nothing is recorded',
      samples: isCounted ? [[[], countedAt / 1_000]] : [],
    },
  ]
}

/** Nothing of a process of one version. */
export function versionFamilies(view: VersionsMetrics | undefined): readonly Family[] {
  if (view === undefined) return []
  const { versions, experiment } = view
  const labelNames = ['version']
  return [
    ...metrics.map(([name, help, read]): Family => ({
      kind: 'gauge',
      name,
      help,
      labelNames,
      samples: versions.flatMap((version): readonly Sample[] => {
        const value = read(version)
        return value === undefined ? [] : [[[version.name], value]]
      }),
    })),
    ...outcomes.map(([name, help, read]): Family => ({
      kind: 'counter',
      name,
      help,
      labelNames,
      samples: (experiment?.versions ?? []).map((row): Sample => [[row.version], read(row)]),
    })),
    ...(experiment === undefined ? [] : recordFamilies(experiment)),
  ]
}
