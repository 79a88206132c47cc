/**
 * The numeric kernels as typed functions over one arena: the WebAssembly module that `npm run
 * kernels` compiles from `assembly/`, or their twins in TypeScript, which give the same bits more
 * slowly. Each room that has kernels of its own adds an interface file beside `dense-kernels.ts`.
 */
import { readFileSync } from 'node:fs'

import { ServiceError } from '../base/errors.ts'
import type { Arena } from './arena.ts'
import type { DenseKernels } from './dense-kernels.ts'
import type { FlatKernels } from './flat-kernels.ts'
import type { Address, OperandsOf } from './operands.ts'
import type { RankKernels } from './rank-kernels.ts'
import { referenceKernels } from './reference.ts'
import type { TowerKernels } from './tower-kernels.ts'

export type Kernels = DenseKernels & FlatKernels & RankKernels & TowerKernels

export type KernelName = keyof Kernels

/** The kernels that end in a range, which a pool may cut into shares. */
export type SplitKernelName = {
  [Name in KernelName]: 'split' extends keyof Kernels[Name] ? Name : never
}[KernelName]

export type SplitOperands<Name extends SplitKernelName> = OperandsOf<Kernels[Name]>

export type KernelImplementation = 'wasm' | 'reference'

export interface KernelOptions {
  readonly implementation?: KernelImplementation
}

/** Bytes that one thread's kernels may use as they like during a call. */
export const scratchBytes = 65_536

/** Kernels on this arena's memory; takes `scratchBytes` of it. */
export function loadKernels(arena: Arena, options: KernelOptions = {}): Kernels {
  return instantiate(arena.memory, arena.bytes(scratchBytes).address, options)
}

/** The same with scratch space that was allocated before: for the threads of a pool. */
export function instantiate(
  memory: WebAssembly.Memory,
  scratch: Address,
  { implementation = 'wasm' }: KernelOptions,
): Kernels {
  if (implementation === 'reference') return referenceKernels(memory)
  const { exports } = new WebAssembly.Instance<Exports>(compiled(), { env: { memory } })
  exports.useScratch(scratch)
  return exports
}

/** What the module exports: a test compares the names with those of the twins. */
type Exports = Kernels & { useScratch(address: Address): void }

let module: WebAssembly.Module | undefined

/** Compiled on first use, once per thread. Throws `KERNELS_UNAVAILABLE`. */
function compiled(): WebAssembly.Module {
  const file = new URL('../../build/kernels.wasm', import.meta.url)
  try {
    module ??= new WebAssembly.Module(readFileSync(file))
  } catch (cause) {
    throw new ServiceError(
      'KERNELS_UNAVAILABLE',
      { file: file.pathname, reason: String(cause) },
      { cause },
    )
  }
  return module
}
