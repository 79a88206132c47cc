/**
 * The kernels in plain TypeScript: their specification, their oracle in tests, and what runs where
 * WebAssembly SIMD is missing. Written to be read; every rounding is where the kernel has it, so
 * that the two agree to the bit.
 */
import { assert } from '../base/assert.ts'
import type { Kernels } from './kernels.ts'

export function referenceKernels(memory: WebAssembly.Memory): Kernels {
  assert(memory.buffer.byteLength === 0, 'not yet')
  throw new Error('not yet')
}
