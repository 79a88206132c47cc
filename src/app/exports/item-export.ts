/**
 * `freshet export items`: the catalogue of a data directory with the vectors of its newest
 * checkpoint, for another nearest-neighbour service: NDJSON of `{id, embedding, restricts,
 * numeric_restricts, crowding_tag}`, the form that Vertex AI Vector Search reads, or NumPy arrays.
 * Hidden and expired items are left out, as they are from recommendations.
 */
import { join } from 'node:path'

import { npyHeader } from '../../embedding/exchange/npy.ts'
import type { Item } from '../../stream/example.ts'
import type { Learner } from '../../trainer/learner.ts'
import { findRows } from '../../trainer/rows.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { openNewest } from '../inspection.ts'
import { makeDirectory } from '../make-directory.ts'
import { type TableFormat, writeWhole } from '../tables/table-files.ts'

export interface ItemExportOptions {
  readonly config: Config
  readonly format: TableFormat
  readonly directory: string
  readonly onItems: (done: number, total: number) => void
}

/** Embedded together. */
const itemsAtOnce = 256

/** Throws `CHECKPOINT_MISSING`, `OUTPUT_FAILED`. */
export async function exportItems(options: ItemExportOptions): Promise<JsonObject> {
  const { config, format, directory } = options
  const { learner, checkpoint, close, catchUp } = await openNewest(config)
  try {
    await catchUp()
    makeDirectory(directory)
    const { catalogue, time } = learner.facts
    const items = [...catalogue.items()].filter((one) => !one.hidden && one.expiresAt > time)
    const files = format === 'npy' ? await asArrays(learner, items, options) : []
    if (format === 'ndjson') {
      const file = join(directory, 'items.ndjson')
      await writeWhole(file, lines(learner, items, options))
      files.push(file)
    }
    const dim = learner.model.outputDim
    return { files, items: items.length, dim, checkpoint: checkpoint.sequence }
  } finally {
    await close()
  }
}

/** The vectors' file, and that of the ids in the same order. */
async function asArrays(
  learner: Learner,
  items: readonly Item[],
  options: ItemExportOptions,
): Promise<string[]> {
  const { directory } = options
  const files = [join(directory, 'items.npy'), join(directory, 'items-ids.ndjson')]
  await writeWhole(files[0], array(learner, items, options))
  const ids = items.map(({ id }) => `${JSON.stringify(id)}\n`).join('')
  await writeWhole(files[1], [Buffer.from(ids)])
  return files
}

async function* array(
  learner: Learner,
  items: readonly Item[],
  options: ItemExportOptions,
): AsyncGenerator<Uint8Array> {
  yield npyHeader({ type: '<f4', shape: [items.length, learner.model.outputDim] })
  for await (const { vectors } of pieces(learner, items, options)) {
    yield new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength)
  }
}

async function* lines(
  learner: Learner,
  items: readonly Item[],
  options: ItemExportOptions,
): AsyncGenerator<Uint8Array> {
  const { outputDim } = learner.model
  for await (const { part, vectors } of pieces(learner, items, options)) {
    const texts = part.map((item, i) => {
      const embedding = [...vectors.subarray(i * outputDim, (i + 1) * outputDim)]
      return `${JSON.stringify({ id: item.id, embedding, ...restrictsOf(item) })}\n`
    })
    yield Buffer.from(texts.join(''))
  }
}

/** Vectors are the model's own memory: to be used before the next piece. */
async function* pieces(learner: Learner, items: readonly Item[], options: ItemExportOptions) {
  const { model, tables } = learner
  const size = Math.min(itemsAtOnce, model.maxItems)
  for (let from = 0; from < items.length; from += size) {
    const part = items.slice(from, from + size)
    await findRows(model.prepareItems(part), tables)
    yield { part, vectors: model.embedItems(logPopularity(learner, part)) }
    options.onItems(Math.min(from + size, items.length), items.length)
  }
}

/** As of the newest event, which is what a query at that moment would see. */
function logPopularity({ facts, model }: Learner, items: readonly Item[]): Float32Array {
  const out = new Float32Array(items.length)
  const { popularity } = model.spec.score
  if (popularity === undefined) return out
  const handles = Int32Array.from(items, ({ handle }) => handle)
  const { smoothing } = popularity
  facts.catalogue.logPopularity(handles, { time: facts.time, smoothing }, out)
  return out
}

/** A longer text is no token: see `serving/token-index.ts`. */
const longestToken = 128

/** What filters match: features and attributes of one name together, numbers apart. */
function restrictsOf({ features, attributes, crowdingTag }: Item): object {
  const tokens = new Map<string, Set<string>>()
  const numbers = new Map<string, number>()
  for (const [namespace, value] of [...Object.entries(features), ...Object.entries(attributes)]) {
    if (typeof value === 'number') numbers.set(namespace, value)
    const values: readonly unknown[] = Array.isArray(value) ? value : [value]
    for (const text of values.filter((one) => typeof one === 'string')) {
      if (text.length > longestToken) continue
      const known = tokens.get(namespace) ?? new Set()
      tokens.set(namespace, known.add(text))
    }
  }
  const restricts = [...tokens].map(([namespace, allow]) => ({ namespace, allow: [...allow] }))
  const numeric = [...numbers].map(([namespace, value]) => ({ namespace, value_double: value }))
  return {
    restricts,
    ...(numeric.length > 0 && { numeric_restricts: numeric }),
    ...(crowdingTag !== undefined && { crowding_tag: crowdingTag }),
  }
}
