/**
 * Two memories with the same contents, one for the WebAssembly kernels and one for the twins: what is
 * placed goes into both, a call is made in both, and afterwards all bytes must be equal, also those
 * that no kernel should have touched.
 */
import { deepStrictEqual } from 'node:assert/strict'

import { type Random, seededRandom } from '../../src/base/random.ts'
import { Arena } from '../../src/kernels/arena.ts'
import {
  type Kernels,
  loadKernels,
  type SplitKernelName,
  type SplitOperands,
} from '../../src/kernels/kernels.ts'

const dataBytes = 4 << 20

interface Side {
  readonly kernels: Kernels
  readonly data: Uint8Array
  readonly base: number
}

export class KernelTwins {
  readonly #sides: readonly [Side, Side]
  #used = 0
  #random: Random = seededRandom(0)

  constructor() {
    this.#sides = [side('wasm'), side('reference')]
  }

  /** Forgets all blocks; numbers drawn from now on depend on the seed alone. */
  reset(seed: number): this {
    this.#used = 0
    this.#random = seededRandom(seed)
    return this
  }

  /** Places the values at the same address in both memories, with a few floats of space behind. */
  floats(values: ArrayLike<number>): number {
    return this.#place(Float32Array.from(values))
  }

  ints(values: ArrayLike<number>): number {
    return this.#place(Int32Array.from(values))
  }

  /** Normally distributed, with some zeros. */
  noise(length: number, deviation = 1): number {
    return this.floats(Array.from({ length }, () => this.draw(deviation)))
  }

  draw(deviation = 1): number {
    return this.#random.next() < 0.05 ? 0 : this.#random.normal() * deviation
  }

  integer(below: number): number {
    return this.#random.integer(below)
  }

  indices(length: number, below: number): number {
    return this.ints(Array.from({ length }, () => this.integer(below)))
  }

  /** What WebAssembly left at an address. */
  read(address: number, length: number): Float32Array {
    const { data, base } = this.#sides[0]
    return new Float32Array(data.buffer, data.byteOffset + address - base, length).slice()
  }

  /** Calls the kernel in two parts, cut somewhere, and the twin in one; then all bytes are equal. */
  check<Name extends SplitKernelName>(
    name: Name,
    operands: SplitOperands<Name>,
    count: number,
  ): void {
    const [wasm, reference] = this.#sides
    const cut = this.integer(count + 1)
    Reflect.apply(wasm.kernels[name], undefined, [...operands, 0, cut])
    Reflect.apply(wasm.kernels[name], undefined, [...operands, cut, count])
    Reflect.apply(reference.kernels[name], undefined, [...operands, 0, count])
    this.expectSame()
  }

  /** The results of a kernel that is called whole, from both. */
  results(name: 'sum' | 'sumOfSquares', operands: [number, number]): [number, number] {
    const [wasm, reference] = this.#sides
    return [wasm.kernels[name](...operands), reference.kernels[name](...operands)]
  }

  largestSquares(...operands: Parameters<Kernels['largestSquares']>): [number, number] {
    const [wasm, reference] = this.#sides
    return [wasm.kernels.largestSquares(...operands), reference.kernels.largestSquares(...operands)]
  }

  /** Calls a kernel that is not to be split in both. */
  checkWhole(name: 'clippyAdagrad', operands: Parameters<Kernels['clippyAdagrad']>): void {
    for (const { kernels } of this.#sides) kernels[name](...operands)
    this.expectSame()
  }

  expectSame(): void {
    const [wasm, reference] = this.#sides
    const end = Math.min(this.#used + 64, dataBytes)
    if (Buffer.compare(wasm.data.subarray(0, end), reference.data.subarray(0, end)) === 0) return
    const words = (data: Uint8Array): Float32Array => new Float32Array(data.slice(0, end).buffer)
    deepStrictEqual(words(wasm.data), words(reference.data))
  }

  #place(values: Float32Array | Int32Array): number {
    const at = this.#used
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    this.#used += Math.ceil((bytes.length + 16) / 4) * 4
    for (const { data } of this.#sides) {
      data.fill(0x41, at, this.#used)
      data.set(bytes, at)
    }
    return this.#sides[0].base + at
  }
}

function side(implementation: 'wasm' | 'reference'): Side {
  const arena = new Arena(dataBytes + (1 << 17))
  const kernels = loadKernels(arena, { implementation })
  const { address, view } = arena.bytes(dataBytes)
  return { kernels, data: view, base: address }
}
