/**
 * One memory that kernels work in, and the blocks it is cut into: reserved at its full size when it
 * is made, so that no view is ever detached, and handed out from the bottom up, never taken back.
 * Pages that are not touched cost address space only. Shared, so that the threads of a pool see it.
 */
import { assert } from '../base/assert.ts'
import { ServiceError } from '../base/errors.ts'
import type { Address } from './operands.ts'

export interface Block<View> {
  readonly address: Address
  readonly view: View
}

const pageBytes = 65_536
/** The first bytes belong to nobody, so that the address 0 can mean "absent". */
const firstAddress = 64
/** What WebAssembly can address with 32 bits, less a page so that every end is an address too. */
export const maximumArenaBytes = 65_535 * pageBytes

/**
 * Invariants: every block of a new arena is zero when handed out, starts at a multiple of
 * `alignment` (64 unless asked otherwise: a cache line), overlaps no other, and lives as long as
 * the arena.
 */
export class Arena {
  readonly memory: WebAssembly.Memory
  readonly capacityBytes: number
  #used = firstAddress

  /**
   * With a memory that another arena reserved it hands out the same blocks again, to whoever asks
   * for the same sizes in the same order: how a thread finds what another one has laid out.
   */
  constructor(capacityBytes: number, memory?: WebAssembly.Memory) {
    assert(capacityBytes > 0 && capacityBytes <= maximumArenaBytes, 'an arena of 1 byte to 4 GiB')
    const pages = Math.ceil((capacityBytes + firstAddress) / pageBytes)
    this.capacityBytes = pages * pageBytes
    this.memory = memory ?? reserve(pages)
    assert(this.memory.buffer.byteLength === this.capacityBytes, 'a memory of the same size')
  }

  get usedBytes(): number {
    return this.#used
  }

  floats(length: number, alignment = 64): Block<Float32Array> {
    const address = this.#take(length * 4, alignment)
    return { address, view: new Float32Array(this.memory.buffer, address, length) }
  }

  ints(length: number, alignment = 64): Block<Int32Array> {
    const address = this.#take(length * 4, alignment)
    return { address, view: new Int32Array(this.memory.buffer, address, length) }
  }

  words(length: number, alignment = 64): Block<Uint32Array> {
    const address = this.#take(length * 4, alignment)
    return { address, view: new Uint32Array(this.memory.buffer, address, length) }
  }

  bytes(length: number, alignment = 64): Block<Uint8Array> {
    const address = this.#take(length, alignment)
    return { address, view: new Uint8Array(this.memory.buffer, address, length) }
  }

  /** The address of `bytes` zero bytes. Throws `MEMORY_EXHAUSTED`. */
  #take(bytes: number, alignment: number): Address {
    assert(Number.isInteger(bytes) && bytes >= 0, 'a block has a whole number of bytes')
    const address = Math.ceil(this.#used / alignment) * alignment
    if (address + bytes > this.capacityBytes) {
      const available = this.capacityBytes - this.#used
      throw new ServiceError('MEMORY_EXHAUSTED', { bytes, available, capacity: this.capacityBytes })
    }
    this.#used = address + bytes
    return address
  }
}

function reserve(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
  } catch (cause) {
    const bytes = pages * pageBytes
    throw new ServiceError('MEMORY_EXHAUSTED', { bytes, available: 0, capacity: bytes }, { cause })
  }
}
