/**
 * Which rows of a stored table changed or left since the last delta. Bounded: of more keys than it
 * has room for it remembers only that there were more.
 */
import type { Keys } from '../../base/keys.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import { absentPayload } from '../../kernels/table-kernels.ts'
import type { TableChanges } from '../embedding-table.ts'
import { KeyIndex } from '../memory/key-index.ts'
import { KeyList } from '../memory/key-list.ts'

const noKeys: Keys = new Uint32Array(0)

/** What happened to a key last. */
export const change = { row: 1, removal: 2 } as const

/** Invariant: a key is in the list once and in the index, or `#overflowed`. */
export class StoredChanges {
  readonly #last: KeyIndex
  readonly #keys = new KeyList()
  #overflowed = false

  constructor(capacity: number, options: KernelOptions) {
    this.#last = new KeyIndex({ ...options, capacity })
  }

  /** Distinct keys. */
  note(keys: Keys, kind: (typeof change)[keyof typeof change]): void {
    if (this.#overflowed) return
    const payloads = new Uint32Array(keys.length / 2)
    this.#last.find(keys, payloads)
    this.#keys.push(chosen(keys, payloads, absentPayload))
    this.#last.set(keys, payloads.fill(kind))
    this.#overflowed = payloads.includes(absentPayload)
  }

  take(): TableChanges {
    const resync = this.#overflowed
    const keys = resync ? noKeys : this.#keys.sorted()
    const payloads = new Uint32Array(keys.length / 2)
    this.#last.find(keys, payloads)
    const changed = chosen(keys, payloads, change.row)
    const removed = chosen(keys, payloads, change.removal)
    this.#last.clear()
    this.#keys.clear()
    this.#overflowed = false
    return { changed, removed, resync }
  }
}

/** The keys whose value is this one, in order. */
export function chosen(keys: Keys, values: Uint32Array | Uint8Array, wanted: number): Keys {
  const some = new Uint32Array(keys.length)
  let end = 0
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] !== wanted) continue
    some[end] = keys[2 * i]
    some[end + 1] = keys[2 * i + 1]
    end += 2
  }
  return some.subarray(0, end)
}
