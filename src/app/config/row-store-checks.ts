/**
 * What a process says of the stores of its trainer's rows. A store that is away makes nobody
 * unready: training waits, while queries are answered from memory as before.
 */
import type { TrainerStatus } from '../../trainer/trainer-status.ts'

interface RowStoreCheck {
  readonly name: 'rows'
  readonly ready: true
  readonly detail: string
}

/** Nothing where all rows are in memory. */
export function rowStoreChecks(
  status: Pick<TrainerStatus, 'tables'> | undefined,
): readonly RowStoreCheck[] {
  const tiers = status?.tables.flatMap(({ name, tier }) => (tier ? [{ name, tier }] : [])) ?? []
  if (tiers.length === 0) return []
  const away = tiers.filter(({ tier }) => tier.state !== 'available').map(({ name }) => name)
  const pinned = tiers.reduce((sum, { tier }) => sum + tier.pinnedRows, 0)
  const detail =
    away.length === 0
      ? `available; ${pinned} rows wait for the next checkpoint`
      : `training waits for the rows of ${away.join(', ')}`
  return [{ name: 'rows', ready: true, detail }]
}
