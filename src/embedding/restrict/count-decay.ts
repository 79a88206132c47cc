/**
 * Counts that halve with time: what the kernels of `assembly/count-decay.ts` are told. Counts of a
 * table that decays are kept in units of 1/256.
 */
import { exp2 } from '../../base/math.ts'

const ticksPerHalfLife = 256

/** 2^31 x 2^(-n / 256) for n = 0 .. 255, rounded. */
export const halvings: Uint32Array = Uint32Array.from({ length: ticksPerHalfLife }, (_, n) =>
  Math.round(exp2(31 - n / ticksPerHalfLife)),
)

/** Ticks a millisecond, in single precision as the kernels have it; 0: counts do not decay. */
export const tickRate = (halfLifeMs: number | undefined): number =>
  halfLifeMs === undefined ? 0 : Math.fround(ticksPerHalfLife / halfLifeMs)
