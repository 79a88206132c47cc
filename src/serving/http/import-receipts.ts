/**
 * How far imports of files have come: one small file each, written beside and put in its place.
 * Bounded; the oldest make room.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import * as z from 'zod'

/** Digest of the file, and what else the import depends on. */
export const receiptId = z.string().regex(/^[0-9a-f]{16,64}$/)

export const receiptFields = z.strictObject({
  name: z.string().max(256).describe('of the file, for a person'),
  rows: z.int().min(0).describe('so many rows of the file stand, from its start'),
  events: z.int().min(0).describe('events that have come of them'),
  done: z.boolean().describe('whether that was all of it'),
  at: z.number().min(0).describe('epoch ms'),
})

export interface Receipt extends z.output<typeof receiptFields> {
  readonly id: string
}

const keptReceipts = 1_000

export class ImportReceipts {
  readonly #directory: string
  /** Writes happen one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** One that cannot be read is none: then the events' own ids tell what was taken. */
  async find(id: string): Promise<Receipt | undefined> {
    try {
      const text = await readFile(this.#path(id), 'utf8')
      return { id, ...receiptFields.parse(JSON.parse(text)) }
    } catch {
      return undefined
    }
  }

  keep(receipt: Receipt): Promise<void> {
    const kept = this.#last.then(() => this.#keep(receipt))
    this.#last = kept.catch(() => {})
    return kept
  }

  async #keep({ id, ...fields }: Receipt): Promise<void> {
    await mkdir(this.#directory, { recursive: true })
    const path = this.#path(id)
    await writeFile(`${path}.part`, JSON.stringify(fields))
    await rename(`${path}.part`, path)
    await this.#makeRoom()
  }

  async #makeRoom(): Promise<void> {
    const names = (await readdir(this.#directory)).filter((name) => name.endsWith('.json'))
    if (names.length <= keptReceipts) return
    const paths = names.map((name) => join(this.#directory, name))
    const aged = await Promise.all(
      paths.map(async (path) => ({ path, at: (await stat(path)).mtimeMs })),
    )
    const oldest = aged.toSorted((a, b) => a.at - b.at).slice(0, names.length - keptReceipts)
    await Promise.all(oldest.map(({ path }) => rm(path, { force: true })))
  }

  /** Ids are hexadecimal: they lead nowhere else. */
  #path(id: string): string {
    return join(this.#directory, `${receiptId.parse(id)}.json`)
  }
}
