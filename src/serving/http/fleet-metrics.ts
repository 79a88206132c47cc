/**
 * What processes that share work report of each other, and how it is named for Prometheus: the
 * trainer's lease, the parameters on their way to replicas, runs of jobs that wait.
 */
import type { Family, Sample } from './exposition.ts'

/** The trainer's lease, as a process with that role sees it. */
interface LeaseView {
  /** Whether its trainer is the one that trains, or waits to be. */
  readonly isActive: boolean
  readonly isStandby: boolean
  /** Of its own lease; 0: it has none. */
  readonly epoch: number
  /** Who trains, as far as it is known. */
  readonly holder: string
}

/** The active trainer's end of the parameters. */
interface PublishedView {
  readonly sequence: number
  readonly keptDeltas: number
  readonly keptBytes: number
  readonly snapshotSequence: number
  /** Epoch ms; 0: there is none. */
  readonly snapshotAt: number
  readonly readers: readonly {
    readonly reader: string
    readonly epoch: number
    readonly sequence: number
    readonly silentMs: number
  }[]
  readonly epoch: number
  readonly failure?: string
}

interface QueueView {
  readonly name: string
  readonly waiting: number
  readonly active: number
  readonly delayed: number
}

export interface FleetView {
  readonly lease?: LeaseView | undefined
  readonly published?: PublishedView | undefined
  readonly queues?: readonly QueueView[] | undefined
}

type Metric = readonly [
  name: string,
  help: string,
  labelNames: readonly string[],
  read: (fleet: FleetView) => readonly Sample[],
]

const metrics: readonly Metric[] = [
  [
    'freshet_lease_active',
    '1: the trainer of this process is the one that trains',
    [],
    ({ lease }) => one(lease && Number(lease.isActive)),
  ],
  [
    'freshet_lease_standby',
    '1: it waits for the end of the lease of another',
    [],
    ({ lease }) => one(lease && Number(lease.isStandby)),
  ],
  [
    'freshet_lease_epoch',
    'Epoch of its lease: greater with every take-over; 0: it has none',
    [],
    ({ lease }) => one(lease?.epoch),
  ],
  [
    'freshet_lease_holder_info',
    'Who trains, as far as this process knows',
    ['holder'],
    ({ lease }) => (lease === undefined || lease.holder === '' ? [] : [[[lease.holder], 1]]),
  ],
  [
    'freshet_sync_published_sequence_deltas',
    'Sequence of the last delta published',
    [],
    ({ published }) => one(published?.sequence),
  ],
  [
    'freshet_sync_kept_deltas',
    'Deltas kept for replicas that may need them',
    [],
    ({ published }) => one(published?.keptDeltas),
  ],
  [
    'freshet_sync_kept_size_bytes',
    'Bytes of these',
    [],
    ({ published }) => one(published?.keptBytes),
  ],
  [
    'freshet_sync_snapshot_sequence_deltas',
    'Sequence of the newest snapshot for replicas that start; 0: there is none',
    [],
    ({ published }) => one(published?.snapshotSequence),
  ],
  [
    'freshet_sync_snapshot_timestamp_seconds',
    'When it was written',
    [],
    ({ published }) => one(published && published.snapshotAt / 1_000),
  ],
  [
    'freshet_sync_server_up',
    '1: Redis takes deltas; 0: training waits for it',
    [],
    ({ published }) => one(published && Number(published.failure === undefined)),
  ],
  [
    'freshet_sync_readers',
    'Replicas that were heard of within a minute',
    [],
    ({ published }) => one(published?.readers.length),
  ],
  [
    'freshet_sync_reader_lag_deltas',
    'Deltas that a replica has not confirmed; all of them while it takes everything anew',
    ['reader'],
    readersWith((reader, { epoch, sequence }) =>
      reader.epoch === epoch ? Math.max(0, sequence - reader.sequence) : sequence,
    ),
  ],
  [
    'freshet_sync_reader_silent_seconds',
    'Since a replica was last heard of',
    ['reader'],
    readersWith(({ silentMs }) => silentMs / 1_000),
  ],
  [
    'freshet_jobs_queue_runs',
    'Runs of a job that are not ended: waiting for a process, at work, or before another try',
    ['job', 'state'],
    ({ queues = [] }) =>
      queues.flatMap(({ name, waiting, active, delayed }): readonly Sample[] => [
        [[name, 'waiting'], waiting],
        [[name, 'active'], active],
        [[name, 'delayed'], delayed],
      ]),
  ],
]

export const fleetFamilies = (fleet: FleetView): readonly Family[] =>
  metrics.map(([name, help, labelNames, read]) => {
    const samples = read(fleet)
    return { kind: 'gauge', name, help, labelNames, samples }
  })

/** None of a value that is not there. */
function one(value: number | undefined): readonly Sample[] {
  return value === undefined ? [] : [[[], value]]
}

type Reader = PublishedView['readers'][number]

function readersWith(
  read: (reader: Reader, published: PublishedView) => number,
): (fleet: FleetView) => readonly Sample[] {
  return ({ published }) =>
    published === undefined
      ? []
      : published.readers.map((it): Sample => [[it.reader], read(it, published)])
}
