/**
 * What readers of a topic report, and how it is named for Prometheus: how far each is behind, by
 * partition, what it has read, and whether the brokers answer.
 */
import type { Family, Sample } from './exposition.ts'

/** One reader of the log in this process. Counts are since its start; times epoch ms. */
export interface LogReaderView {
  /** Trainer, serving, or ingest, which only writes. */
  readonly role: string
  readonly isUp: boolean
  readonly events: number
  readonly deadLetters: number
  readonly lostLetters: number
  readonly fetches: number
  readonly failures: number
  readonly watermarks: Readonly<Record<number, number>>
  readonly partitions: readonly {
    readonly partition: number
    readonly position: number
    readonly end: number
    readonly lag: number
  }[]
}

type Metric = readonly [name: string, help: string, read: (reader: LogReaderView) => number]

const ofReaders: readonly Metric[] = [
  ['freshet_log_brokers_up', '1: the brokers of the topic answer', ({ isUp }) => (isUp ? 1 : 0)],
  ['freshet_log_read_events_total', 'Events read from the topic', ({ events }) => events],
  [
    'freshet_log_dead_letters_total',
    'Values of the topic that were no events',
    ({ deadLetters }) => deadLetters,
  ],
  [
    'freshet_log_lost_letters_total',
    'Of these, those that could not be written where dead letters go',
    ({ lostLetters }) => lostLetters,
  ],
  ['freshet_log_fetches_total', 'Answers to fetches', ({ fetches }) => fetches],
  ['freshet_log_fetch_failures_total', 'Fetches that failed', ({ failures }) => failures],
]

type Partition = LogReaderView['partitions'][number]
type PartitionMetric = readonly [name: string, help: string, read: (of: Partition) => number]

const ofPartitions: readonly PartitionMetric[] = [
  [
    'freshet_log_lag_messages',
    'Messages of the partition that the reader has not folded',
    ({ lag }) => lag,
  ],
  [
    'freshet_log_position_offset',
    'Offset of the next message that the reader folds',
    ({ position }) => position,
  ],
  ['freshet_log_end_offset', 'Offset after the newest message', ({ end }) => end],
]

const watermark = 'freshet_log_watermark_timestamp_seconds'

export const logFamilies = (readers: readonly LogReaderView[]): readonly Family[] => [
  ...ofReaders.map(([name, help, read]) =>
    family(
      name,
      help,
      ['role'],
      readers.map((reader): Sample => [[reader.role], read(reader)]),
    ),
  ),
  ...ofPartitions.map(([name, help, read]) =>
    family(
      name,
      help,
      ['role', 'partition'],
      readers.flatMap((reader) => samples(reader, read)),
    ),
  ),
  family(
    watermark,
    'Acceptance of the newest event read from the partition',
    ['role', 'partition'],
    readers.flatMap(({ role, watermarks }) =>
      Object.entries(watermarks).map(([id, at]): Sample => [[role, id], at / 1_000]),
    ),
  ),
]

const samples = ({ role, partitions }: LogReaderView, read: PartitionMetric[2]): Sample[] =>
  partitions.map((of) => [[role, String(of.partition)], read(of)])

const family = (
  name: string,
  help: string,
  labelNames: readonly string[],
  found: readonly Sample[],
): Family => ({
  kind: name.endsWith('_total') ? 'counter' : 'gauge',
  name,
  help,
  labelNames,
  samples: found,
})
