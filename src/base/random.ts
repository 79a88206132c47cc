/**
 * Seeded random numbers: sfc32 (Chris Doty-Humphrey's small fast counter, 128 bits of state),
 * seeded from any list of integers. Same seeds, same numbers, on every machine. A consumer that
 * must be replayable seeds one per unit of work, `seededRandom(seed, batch)`, and so has no state
 * to save.
 */
export interface Random {
  /** Uniform in [0, 1), 32 random bits. */
  next(): number
  /** Uniform integer in [0, below). */
  integer(below: number): number
  /** Standard normal: a sum of twelve uniforms less six (deterministic, tails end at 6). */
  normal(): number
}

export function seededRandom(...seeds: readonly number[]): Random {
  let [a, b, c, d] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1]
  const uint32 = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + t) | 0
    return t >>> 0
  }
  for (const seed of seeds) {
    a ^= seed | 0
    b ^= Math.floor(seed / 2 ** 32) | 0
    for (let round = 0; round < 12; round += 1) uint32()
  }
  const next = (): number => uint32() / 2 ** 32
  return {
    next,
    integer: (below) => Math.floor(next() * below),
    normal: () => {
      let sum = -6
      for (let i = 0; i < 12; i += 1) sum += next()
      return sum
    },
  }
}
