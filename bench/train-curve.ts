/**
 * `freshet bench train --curve`: the training step over batches, widths and threads. Every point is
 * a process of its own, so that its memory is its own; points of one and of two threads follow each
 * other, and their digests must be equal.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import { z } from 'zod'

const batchSizes = [256, 512, 1024, 2048, 4096, 8192]
const dims = [16, 32, 64, 128]

export interface CurveOptions {
  readonly seed: number
  readonly threads: number
  readonly seconds: number
  readonly repeats: number
}

const point = z.object({
  examplesPerSecond: z.number(),
  slowest: z.number(),
  fastest: z.number(),
  gflops: z.number(),
  digest: z.string(),
  peakRssBytes: z.number(),
})

interface CurvePoint extends z.infer<typeof point> {
  readonly dim: number
  readonly batch: number
  readonly threads: number
  readonly [figure: string]: number | string
}

export interface TrainCurve {
  readonly [name: string]: readonly CurvePoint[] | number
  readonly curve: readonly CurvePoint[]
  /** Pairs of points, of one thread and of several, that did not learn the same bits. */
  readonly digestMismatches: number
}

type Place = Pick<CurvePoint, 'dim' | 'batch' | 'threads'>

/** Measured in a process of its own; `flags`: beside those of the place. */
export async function pointAt(
  place: Place,
  options: CurveOptions,
  flags: Readonly<Record<string, string>> = {},
): Promise<CurvePoint> {
  const { dim, batch, threads } = place
  const ofPlace = { dim, layers: `${dim},${dim / 2}`, batch, threads }
  const { seed, seconds, repeats } = options
  const given = Object.entries({ ...ofPlace, seed, seconds, repeats, ...flags })
  const program = [...process.execArgv, process.argv[1] ?? '', 'bench', 'train', '--json']
  const list = given.flatMap(([name, value]) => [`--${name}`, String(value)])
  const { stdout } = await promisify(execFile)(process.execPath, [...program, ...list])
  const found: unknown = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  return { ...place, ...point.parse(found) }
}

/** Towers of two layers, dim -> dim -> dim / 2. */
export async function trainCurve(
  options: CurveOptions,
  progress: (line: string) => void,
): Promise<TrainCurve> {
  const curve: CurvePoint[] = []
  let digestMismatches = 0
  for (const dim of dims) {
    for (const batch of batchSizes) {
      const one = await pointAt({ dim, batch, threads: 1 }, options)
      const more = await pointAt({ dim, batch, threads: options.threads }, options)
      if (one.digest !== more.digest) digestMismatches += 1
      curve.push(one, more)
      const rates = `${one.examplesPerSecond} and ${more.examplesPerSecond} examples/s`
      progress(`dim ${dim}, batch ${batch}: ${rates}, ${more.peakRssBytes >> 20} MiB`)
    }
  }
  return { curve, digestMismatches }
}
