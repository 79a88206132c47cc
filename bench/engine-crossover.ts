/**
 * `freshet bench train --crossover`: both engines over batches and widths of the towers, so that a
 * user can tell which to choose. Every point is a process of its own, the engines one after the
 * other, with the same threads. There are 32 of them: each is measured briefly, some four minutes in
 * all.
 */
import { type CurveOptions, pointAt } from './train-curve.ts'

const batchSizes = [64, 256, 1024, 4096]
/** Floats of an embedding; towers are width -> width -> width / 2. */
const widths = [32, 64, 128, 512]
/** At most, of each point. */
const seconds = 0.5
const repeats = 3

interface Crossing {
  readonly width: number
  readonly batch: number
  /** Examples per second. */
  readonly wasm: number
  readonly tfjs: number
  /** tfjs / wasm: above 1 the second engine is the faster. */
  readonly ratio: number
}

export interface EngineCrossover {
  readonly [name: string]: readonly Crossing[]
  readonly crossover: readonly Crossing[]
}

export async function engineCrossover(
  options: CurveOptions & { readonly backend?: string },
  progress: (line: string) => void,
): Promise<EngineCrossover> {
  const { threads, backend } = options
  const brief = {
    ...options,
    seconds: Math.min(seconds, options.seconds),
    repeats: Math.min(repeats, options.repeats),
  }
  const crossover: Crossing[] = []
  const chosen = backend === undefined ? {} : { backend }
  for (const dim of widths) {
    for (const batch of batchSizes) {
      const place = { dim, batch, threads }
      const wasm = await pointAt(place, brief, { engine: 'wasm' })
      const tfjs = await pointAt(place, brief, { engine: 'tfjs', ...chosen })
      const rates = { wasm: wasm.examplesPerSecond, tfjs: tfjs.examplesPerSecond }
      const ratio = Number((rates.tfjs / rates.wasm).toFixed(2))
      crossover.push({ width: dim, batch, ...rates, ratio })
      progress(`${dim} wide, batch ${batch}: wasm ${rates.wasm}, tfjs ${rates.tfjs} examples/s`)
    }
  }
  return { crossover }
}
