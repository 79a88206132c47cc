/**
 * Working space of this instance. Threads share one memory but not their instances, so each is given
 * its own at start; nothing in it outlives a call. Kernels have no static data for the same reason:
 * it would be one for all.
 */
import { constantBytes, placeConstants } from './constants'

/** 64 KiB. */
export let scratch: usize = 0

/** Which of the threads that share the memory this instance works for. */
export let thread: usize = 0

/** Constants first, which no kernel overwrites, then the working space. */
export function useScratch(address: usize, index: i32): void {
  placeConstants(address)
  scratch = address + constantBytes
  thread = usize(index)
}
