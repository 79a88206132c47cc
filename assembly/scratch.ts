/**
 * Working space of this instance. Threads share one memory but not their instances, so each is given
 * its own at start; nothing in it outlives a call. Kernels have no static data for the same reason:
 * it would be one for all.
 */
export let scratch: usize = 0

export function useScratch(address: usize): void {
  scratch = address
}
