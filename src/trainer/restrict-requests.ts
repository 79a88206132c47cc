/** What the trainer asks of its tables when they restrict themselves. */
import type { DurableTable } from '../embedding/durable-table.ts'
import type { RestrictRequest } from '../embedding/embedding-table.ts'
import { ownRequest } from '../embedding/restrict/restrict.ts'

/** What a command may say otherwise than the table's own policy. */
export type RestrictLimits = Partial<Pick<RestrictRequest, 'numReserved' | 'trigger' | 'policy'>>

/** What a step of a restrict under way is asked with: how many leave was said at its beginning. */
export const stepRequest: RestrictRequest = {
  policy: 'timestamp',
  numReserved: 0,
  trigger: 2 ** 52,
}

/** The table's own request, or the limits' where they say all; undefined: nobody asks for it. */
export function requestOf(
  { spec }: DurableTable,
  limits: RestrictLimits,
): RestrictRequest | undefined {
  const own = ownRequest(spec)
  if (own !== undefined) return { ...own, ...limits }
  const { numReserved, trigger, policy } = limits
  if (numReserved === undefined || trigger === undefined || policy === undefined) return undefined
  return { numReserved, trigger, policy }
}
