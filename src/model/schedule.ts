/** How learning rates rise and fall with the steps taken: a function of their number alone. */
import { unreachable } from '../base/assert.ts'
import { cosTurns, exp2 } from '../base/math.ts'
import type { ScheduleSpec } from './spec.ts'

/** What rates are multiplied by in that step, counted from 1. */
export function rateScaleAt(schedule: ScheduleSpec, step: number): number {
  const { warmupSteps } = schedule
  if (step < warmupSteps) return step / warmupSteps
  return decayed(schedule, step - warmupSteps)
}

function decayed({ decay, decaySteps, floor }: ScheduleSpec, steps: number): number {
  const done = Math.min(1, steps / decaySteps)
  switch (decay) {
    case 'none':
      return 1
    case 'linear':
      return 1 - (1 - floor) * done
    case 'cosine':
      return floor + ((1 - floor) * (1 + cosTurns(done / 2))) / 2
    case 'exponential':
      return Math.max(floor, exp2(-steps / decaySteps))
    case 'inverseSqrt':
      return Math.max(floor, 1 / Math.sqrt(1 + steps / decaySteps))
    default:
      return unreachable(decay)
  }
}
