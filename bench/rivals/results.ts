/** What `run.sh` has measured so far, in its folder. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import * as z from 'zod'

const point = z.object({
  setting: z.string(),
  recall10: z.number(),
  queriesPerSecond: z.number(),
  ownQueriesPerSecond: z.number(),
  freshetRecall10: z.number(),
  freshetQueriesPerSecond: z.number(),
  freshetOwnQueriesPerSecond: z.number(),
  ratio: z.number(),
})
export type Point = z.infer<typeof point>

/** The lines of a library that are no points. */
const facts = z.object({
  buildSeconds: z.number().optional(),
  buildOwnSeconds: z.number().optional(),
  upsertsPerSecond: z.number().optional(),
  singleUpsertsPerSecond: z.number().optional(),
  freshetUpsertsPerSecond: z.number().optional(),
  freshetSingleUpsertsPerSecond: z.number().optional(),
  done: z.boolean().optional(),
})

export interface Rival {
  readonly name: string
  readonly points: readonly Point[]
  readonly facts: z.infer<typeof facts>
}

const freshet = z.object({ buildSeconds: z.number() })
export type Own = z.infer<typeof freshet>

const names = {
  scann: 'ScaNN',
  faiss: 'faiss IVF-PQ fast scan',
  usearch: 'usearch',
  hnswlib: 'hnswlib',
}

/** Those that have a point, cut off in the middle or not. */
export function rivalsIn(folder: string): readonly Rival[] {
  return Object.entries(names).flatMap(([part, name]) => {
    const lines = linesOf(join(folder, `${part}.jsonl`))
    const points = lines.flatMap((line) => point.safeParse(line).data ?? [])
    if (points.length === 0) return []
    return [{ name, points, facts: facts.parse(Object.assign({}, ...lines)) }]
  })
}

/** Freshet by itself. */
export function ownIn(folder: string): Own | undefined {
  const [line] = linesOf(join(folder, 'freshet.json'))
  return line === undefined ? undefined : freshet.parse(line)
}

function linesOf(file: string): readonly unknown[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line): unknown => JSON.parse(line))
}
