/**
 * A table in which a new key must earn its row: any table, in memory or not, behind an
 * admission policy. Keys that have a row pass straight through. The others are put before the
 * policy; those that it turns away, and those that a full table refuses, read the shared row
 * (`shared-row.ts`) and their gradients, summed in the order of the batch, are one update of it.
 */
import { digestBytes } from '../../base/digest.ts'
import type { Awaitable, Keys } from '../../base/keys.ts'
import { keyCount, outOfVocabularyKey } from '../../base/keys.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import type { DurableTable, SnapshotRequest } from '../durable-table.ts'
import type {
  Accumulation,
  RestrictRequest,
  Stamp,
  TableChanges,
  TableStats,
} from '../embedding-table.ts'
import { copyKey } from '../memory/key-list.ts'
import type { RestrictPreview } from '../restrict/restrict-preview.ts'
import type { TableSnapshot } from '../snapshot/table-snapshot.ts'
import type { TableSpec } from '../table-spec.ts'
import { admissionOf } from './admission-policies.ts'
import type { Admission } from './admission.ts'

/** Working space for the keys of a batch: grows to the largest one. */
class Staging {
  readonly capacity: number
  /** Of each key of the batch: whether it has a row. */
  readonly present: Uint8Array
  /** The keys without one: their places in the batch, and what is said of each. */
  readonly places: Uint32Array
  readonly keys: Uint32Array
  readonly occurrences: Uint32Array
  readonly flags: Uint8Array
  readonly vectors: Float32Array
  readonly admitted: Uint32Array

  constructor(capacity: number, dim: number) {
    this.capacity = capacity
    this.present = new Uint8Array(capacity)
    this.places = new Uint32Array(capacity)
    this.keys = new Uint32Array(2 * capacity)
    this.occurrences = new Uint32Array(capacity)
    this.flags = new Uint8Array(capacity)
    this.vectors = new Float32Array(capacity * dim)
    this.admitted = new Uint32Array(2 * capacity)
  }
}

/**
 * Invariant: `present` of the staging says which keys of `#batch` have a row, as of the last
 * `findOrInsert`; when rows may have come or gone since, `#batch` is undefined.
 */
export class AdmittedTable implements DurableTable {
  readonly #table: DurableTable
  readonly #admission: Admission
  /** The shared row's vector, or its gradient. */
  readonly #shared: Float32Array
  #staging: Staging
  #batch: Keys | undefined

  constructor(table: DurableTable, admission: Admission) {
    this.#table = table
    this.#admission = admission
    this.#shared = new Float32Array(table.spec.dim)
    this.#staging = new Staging(1024, table.spec.dim)
  }

  get spec(): TableSpec {
    return this.#table.spec
  }

  get size(): number {
    return this.#table.size
  }

  /** `present` tells rows of their own; a key without one reads the shared row. */
  find(keys: Keys, vectors: Float32Array, present?: Uint8Array): Awaitable<void> {
    const n = this.#reserve(keys)
    const found = present ?? this.#staging.present
    return after(this.#table.find(keys, vectors, found), () => {
      if (!found.subarray(0, n).includes(0)) return undefined
      return after(this.#table.find(outOfVocabularyKey, this.#shared), () => {
        this.#share(vectors, found.subarray(0, n))
      })
    })
  }

  findOrInsert(
    keys: Keys,
    vectors: Float32Array,
    stamp: Stamp,
    occurrences?: Uint32Array,
  ): Awaitable<void> {
    const n = this.#reserve(keys)
    const present = this.#staging.present.subarray(0, n)
    return after(this.#table.find(keys, vectors, present), () => {
      this.#batch = keys
      const missing = this.#stageMissing(keys, n, occurrences)
      if (missing === 0) return undefined
      return after(this.#insertAdmitted(missing, vectors, stamp), () => {
        if (!present.includes(0)) return undefined
        const shared = this.#table.findOrInsert(outOfVocabularyKey, this.#shared, stamp)
        return after(shared, () => this.#share(vectors, present))
      })
    })
  }

  assign(keys: Keys, vectors: Float32Array, stamp: Stamp): Awaitable<void> {
    this.#batch = undefined
    return this.#table.assign(keys, vectors, stamp)
  }

  /** Keys without a row are one update of the shared row. */
  applyGradients(
    keys: Keys,
    gradients: Float32Array,
    occurrences: Uint32Array,
    stamp: Stamp,
  ): Awaitable<void> {
    if (this.#batch === keys) return this.#update(keys, gradients, occurrences, stamp)
    const n = this.#reserve(keys)
    const { vectors, present } = this.#staging
    return after(this.#table.find(keys, vectors, present.subarray(0, n)), () =>
      this.#update(keys, gradients, occurrences, stamp),
    )
  }

  erase(keys: Keys): Awaitable<number> {
    this.#batch = undefined
    return this.#table.erase(keys)
  }

  restrict(request: RestrictRequest): Awaitable<Keys> {
    this.#batch = undefined
    return this.#table.restrict(request)
  }

  restrictSome(request: RestrictRequest): Awaitable<Keys> {
    this.#batch = undefined
    return this.#table.restrictSome(request)
  }

  accumulate(keys: Keys, change: Accumulation, stamp: Stamp): Awaitable<void> {
    this.#batch = undefined
    return this.#table.accumulate(keys, change, stamp)
  }

  hasChanged(rows: number): boolean {
    return this.#table.hasChanged(rows)
  }

  takeChanges(): Awaitable<TableChanges> {
    return this.#table.takeChanges()
  }

  stats(): TableStats {
    return { ...this.#table.stats(), admission: this.#admission.stats() }
  }

  compactSome(): boolean {
    return this.#table.compactSome()
  }

  protect(keys: Keys): void {
    this.#table.protect(keys)
  }

  startRestrict(request: RestrictRequest): boolean {
    return this.#table.startRestrict(request)
  }

  startExpiry(request: RestrictRequest): boolean {
    return this.#table.startExpiry(request)
  }

  get isRestricting(): boolean {
    return this.#table.isRestricting
  }

  previewRestrict(request: RestrictRequest, samples: number): RestrictPreview {
    return this.#table.previewRestrict(request, samples)
  }

  /** Of the rows and of what the policy remembers. */
  digest(): Awaitable<bigint> {
    const memory = digestBytes(this.#admission.serialize())
    const rows = this.#table.digest()
    return rows instanceof Promise ? rows.then((digest) => digest ^ memory) : rows ^ memory
  }

  /** Of the rows alone; see `serializeAdmission`. */
  snapshot(request?: SnapshotRequest): TableSnapshot {
    return this.#table.snapshot(request)
  }

  load(pieces: Iterable<Uint8Array>): void {
    this.#batch = undefined
    this.#table.load(pieces)
  }

  export(): ReturnType<DurableTable['export']> {
    return this.#table.export()
  }

  /** For a checkpoint: what the policy remembers. The table saves its rows itself. */
  serializeAdmission(): Uint8Array {
    return this.#admission.serialize()
  }

  /** Throws `RangeError` for what another policy wrote. */
  loadAdmission(bytes: Uint8Array): void {
    this.#batch = undefined
    this.#admission.load(bytes)
  }

  #reserve(keys: Keys): number {
    const n = keyCount(keys)
    if (n > this.#staging.capacity) this.#staging = new Staging(2 * n, this.spec.dim)
    this.#batch = undefined
    return n
  }

  /** Stages the keys that have no row, but for the key 0; returns how many. */
  #stageMissing(keys: Keys, n: number, occurrences: Uint32Array | undefined): number {
    const { present, places, keys: staged, occurrences: counts } = this.#staging
    let missing = 0
    for (let i = 0; i < n; i += 1) {
      if (present[i] !== 0 || (keys[2 * i] | keys[2 * i + 1]) === 0) continue
      places[missing] = i
      copyKey(staged, missing, keys, i)
      counts[missing] = occurrences?.[i] ?? 1
      missing += 1
    }
    return missing
  }

  /** Rows for the staged keys that earn one. A full table refuses some: so they are looked up. */
  #insertAdmitted(missing: number, vectors: Float32Array, stamp: Stamp): Awaitable<void> {
    const { keys, occurrences, flags, admitted, vectors: staged } = this.#staging
    const newcomers = {
      keys: keys.subarray(0, 2 * missing),
      occurrences: occurrences.subarray(0, missing),
      version: stamp.version,
    }
    this.#admission.admit(newcomers, flags)
    let n = 0
    for (let i = 0; i < missing; i += 1) {
      if (flags[i] === 0) continue
      copyKey(admitted, n, keys, i)
      n += 1
    }
    if (n === 0) return undefined
    const inserted = this.#table.findOrInsert(admitted.subarray(0, 2 * n), staged, stamp)
    return after(inserted, () => {
      const found = this.#table.find(newcomers.keys, staged, flags)
      return after(found, () => this.#takeFound(missing, vectors))
    })
  }

  /** What was just looked up is a part of the batch. */
  #takeFound(missing: number, vectors: Float32Array): void {
    const { present, places, flags, vectors: staged } = this.#staging
    const { dim } = this.spec
    for (let i = 0; i < missing; i += 1) {
      if (flags[i] === 0) continue
      present[places[i]] = 1
      vectors.set(staged.subarray(i * dim, (i + 1) * dim), places[i] * dim)
    }
  }

  #share(vectors: Float32Array, present: Uint8Array): void {
    const { dim } = this.spec
    for (let i = present.indexOf(0); i >= 0 && i < present.length; i += 1) {
      if (present[i] === 0) vectors.set(this.#shared, i * dim)
    }
  }

  #update(
    keys: Keys,
    gradients: Float32Array,
    occurrences: Uint32Array,
    stamp: Stamp,
  ): Awaitable<void> {
    const updated = this.#table.applyGradients(keys, gradients, occurrences, stamp)
    const count = this.#sumMissing(keys, gradients, occurrences)
    if (count === 0) return updated
    const counts = Uint32Array.of(Math.min(count, 2 ** 32 - 1))
    return after(updated, () =>
      this.#table.applyGradients(outOfVocabularyKey, this.#shared, counts, stamp),
    )
  }

  /** The gradient of the shared row: the sum in the order of keys. Returns its occurrences. */
  #sumMissing(keys: Keys, gradients: Float32Array, occurrences: Uint32Array): number {
    const present = this.#staging.present.subarray(0, keyCount(keys))
    const { dim } = this.spec
    let count = 0
    for (let i = present.indexOf(0); i >= 0 && i < present.length; i += 1) {
      if (present[i] !== 0 || (keys[2 * i] | keys[2 * i + 1]) === 0) continue
      if (count === 0) this.#shared.fill(0)
      for (let d = 0; d < dim; d += 1) this.#shared[d] += gradients[i * dim + d]
      count += occurrences[i]
    }
    return count
  }
}

/** The table behind the policy that its specification names, or as it is if that admits all. */
export function withAdmission(table: DurableTable, options: KernelOptions = {}): DurableTable {
  const admission = admissionOf(table.spec, options)
  return admission === undefined ? table : new AdmittedTable(table, admission)
}

/** At once where there is nothing to wait for. */
function after<Value>(value: Awaitable<Value>, run: () => Awaitable<void>): Awaitable<void> {
  return value instanceof Promise ? value.then(run) : run()
}
