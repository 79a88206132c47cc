/** Compares what a replica has with the log and with what the trainer has saved. */
import { setTimeout as sleep } from 'node:timers/promises'

import { type Holdings, holdings } from '../../support/replica-holdings.ts'
import type { LogVerdict, State } from '../chaos-verdict.ts'
import type { ChaosMember } from './chaos-member.ts'

export interface ReplicaVerdict {
  readonly lost: number
  readonly doubled: number
  /** Rows of the trainer that are missing or others. */
  readonly rowDifferences: number
  /** Rows that the trainer has not (any more), and items that are recommended though deleted. */
  readonly ghosts: number
  readonly reasons: readonly string[]
}

const limitMs = 15_000
const lookMs = 200
const users = 60

/** The last delta may be on its way: what differs after that differs. */
export async function compareReplica(
  replica: ChaosMember,
  { saved, verdict }: { readonly saved: State; readonly verdict: LogVerdict },
): Promise<ReplicaVerdict> {
  const giveUpAt = performance.now() + limitMs
  for (;;) {
    const found = await look(replica)
    const rows = differences(found, saved)
    const isSame = rows.different.length + rows.extra.length === 0
    if (!isSame && performance.now() < giveUpAt) {
      await sleep(lookMs)
      continue
    }
    const known = new Set(found.items)
    const ghosts = (await recommended(replica)).filter((id) => !known.has(id))
    const reasons = [
      ...rows.different.slice(0, 3).map((row) => `${replica.name}: ${row} differs`),
      ...[...rows.extra, ...ghosts].slice(0, 3).map((row) => `${replica.name}: ghost ${row}`),
    ]
    return {
      lost: Math.max(0, verdict.interactions - found.interactions),
      doubled: Math.max(0, found.interactions - verdict.interactions),
      rowDifferences: rows.different.length,
      ghosts: rows.extra.length + ghosts.length,
      reasons,
    }
  }
}

const look = async (replica: ChaosMember): Promise<Holdings> =>
  holdings.parse(await replica.life.service.ask('holdings', limitMs))

function differences({ rows }: Holdings, saved: State) {
  return {
    different: [...saved.rows].filter(([row, vector]) => rows[row] !== vector).map(([row]) => row),
    extra: Object.keys(rows).filter((row) => !saved.rows.has(row)),
  }
}

async function recommended({ client }: ChaosMember): Promise<readonly string[]> {
  const ids = new Set<string>()
  for (let user = 1; user <= users; user += 1) {
    const answer = await client?.recommend(`user-${user}`, { n: 100 })
    for (const { id } of answer?.items ?? []) ids.add(id)
  }
  return [...ids]
}
