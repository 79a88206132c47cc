/**
 * An import into a table whose rows are in Redis. Nothing is written there: the rows become part of
 * the redo part of the checkpoint that takes the place of the newest, whose mark the store lacks
 * then: so the next start sends them, as after a crash. A bad file, a full disk or a kill leaves
 * all as it was, or all imported.
 */
import { join } from 'node:path'

import type { Keys } from '../../base/keys.ts'
import { distinctSorted, KeyList } from '../../embedding/memory/key-list.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import { ArrivingRows } from '../../embedding/tiered/arriving-rows.ts'
import { dismiss, readRedo, writeRedo } from '../../embedding/tiered/redo.ts'
import type { Checkpoint, CheckpointPart } from '../../trainer/checkpoint/checkpoint.ts'
import { directoryPart, redoPart } from '../../trainer/far-rows.ts'
import { RowSpool } from './row-spool.ts'

export interface FarImportOptions {
  readonly checkpoint: Checkpoint
  readonly spec: TableSpec
  /** The rows of the import are all that the table has then. */
  readonly replace: boolean
  /** Where rows lie while they arrive. */
  readonly directory: string
}

export class FarImport implements Disposable {
  readonly table: ArrivingRows
  readonly #options: FarImportOptions
  readonly #spool: RowSpool
  /** Keys of rows that go. */
  readonly #gone = new KeyList()

  constructor(options: FarImportOptions) {
    const { checkpoint, spec, replace, directory } = options
    this.#options = options
    this.#spool = new RowSpool(join(directory, `writing-${spec.name}.rows`))
    this.table = new ArrivingRows(spec, (records) => this.#spool.write(records))
    const stamps = this.table.directory
    stamps.load(checkpoint.chunks(directoryPart(spec.name)))
    if (!replace) return
    for (const { keys } of stamps.export()) this.#gone.push(keys)
    stamps.erase(this.#gone.view())
  }

  /** When all have arrived: the table's parts of the checkpoint that is to be written. */
  parts(): readonly CheckpointPart[] {
    const { name } = this.#options.spec
    this.table.finish()
    return [
      { name: directoryPart(name), chunks: this.table.directory.snapshot() },
      { name: redoPart(name), chunks: this.#redo() },
    ]
  }

  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]()
  }

  /** What the checkpoint before has for the store, then the rows that came. */
  #redo(): Iterable<Uint8Array> {
    const { checkpoint, spec, replace } = this.#options
    const { recordBytes } = this.table
    const before = readRedo(checkpoint.chunks(redoPart(spec.name)), spec.name)
    const spool = this.#spool
    const records = (function* () {
      if (replace) dismiss(before)
      else yield* before.records
      yield* spool.pieces(recordBytes)
    })()
    const cut = { erased: this.#erased(before.erased), recordBytes, records }
    return writeRedo(cut, { previous: before.previous, imports: before.imports + 1 })
  }

  #erased(before: Keys): Keys {
    const all = new KeyList()
    all.push(before)
    all.push(this.#gone.view())
    return distinctSorted(all.sorted())
  }
}
