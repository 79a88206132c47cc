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
import { referenceKernels } from './reference/reference.ts'
import type { TableKernels } from './table-kernels.ts'
import type { TowerKernels } from './tower-kernels.ts'
import type { TreeKernels } from './tree-kernels.ts'

export type Kernels = DenseKernels &
  FlatKernels &
  RankKernels &
  TableKernels &
  TowerKernels &
  TreeKernels

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

/** What one thread's kernels have for themselves: constants, and 64 KiB to use during a call. */
export const scratchBytes = 1024 + 65_536

/** Where kernels work: everything that another thread needs to have the same ones. */
export interface KernelSite {
  readonly memory: WebAssembly.Memory
  /** `scratchBytes` that no other thread's kernels use. */
  readonly scratch: Address
  /** Which of the threads it is for that share work on this memory, from 0. */
  readonly thread: number
  /** Without it the site has the twins. */
  readonly module: WebAssembly.Module | undefined
}

/** A place in this arena, of which it takes `scratchBytes`. Throws `KERNELS_UNAVAILABLE`. */
export function kernelSite(
  arena: Arena,
  { implementation = 'wasm' }: KernelOptions = {},
  thread = 0,
): KernelSite {
  return {
    thread,
    memory: arena.memory,
    scratch: arena.bytes(scratchBytes).address,
    module: implementation === 'wasm' ? compiled() : undefined,
  }
}

/** Kernels on this arena's memory. */
export const loadKernels = (arena: Arena, options: KernelOptions = {}): Kernels =>
  instantiate(kernelSite(arena, options))

/** Throws `KERNELS_UNAVAILABLE` for a module that was built before others were added. */
export function instantiate({ memory, scratch, thread, module }: KernelSite): Kernels {
  if (module === undefined) return referenceKernels(memory, thread)
  const { exports } = new WebAssembly.Instance<Exports>(module, { env: { memory } })
  const missing = Object.keys(referenceKernels(memory, thread)).find((name) => !(name in exports))
  if (missing !== undefined) throw unavailable(`it is of another version, without ${missing}`)
  exports.useScratch(scratch, thread)
  return exports
}

/** What the module exports: a test compares the names with those of the twins. */
type Exports = Kernels & { useScratch(address: Address, thread: number): void }

let compilation: WebAssembly.Module | undefined

const file = new URL('../../build/kernels.wasm', import.meta.url)

const unavailable = (reason: string, options?: ErrorOptions): ServiceError =>
  new ServiceError('KERNELS_UNAVAILABLE', { file: file.pathname, reason }, options)

/** Compiled on first use; a pool's threads get the module from the thread that made them. */
function compiled(): WebAssembly.Module {
  try {
    compilation ??= new WebAssembly.Module(readFileSync(file))
  } catch (cause) {
    throw unavailable(String(cause), { cause })
  }
  return compilation
}
