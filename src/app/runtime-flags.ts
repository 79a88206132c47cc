/** How V8 is to behave in every process of ours. */
import { setFlagsFromString } from 'node:v8'

/**
 * Flags that only whoever starts a process can give.
 *
 * V8 marks garbage with four helper threads. On two cores they shut out the thread that answers: at
 * 2,000 requests/s each collection, one in some ten seconds, cost 50 to 80 ms for hundreds of
 * requests. With one helper the longest wait was 9 ms. What is marked is a few hundred megabytes at
 * most, since vectors and rows are not on V8's heap.
 */
export const runtimeFlags: readonly string[] = ['--v8-pool-size=1']

/** The V8 of Node 24; a later one may not know these flags, and would say so on every start. */
const knowsFlags = process.versions.v8.startsWith('13.')

/**
 * Calls from WebAssembly into JavaScript are never compiled for their signature. Threads that do so
 * at the same moment for the same one end the process, rarely ("Check failed: end > addr"; compare
 * nodejs/node issue 64500): Node's own modules do, our kernels make no such calls.
 */
export const steadyWrappers = '--wasm-wrapper-tiering-budget=2147483647'

/**
 * Buffers are garbage that V8 sees late: it begins a whole collection for every few megabytes of
 * them beyond a limit of its own, however small its heap is. A replica that took 5 MB/s of deltas
 * had one every 400 ms, which was a third of its processor time. Counted within the limit of the
 * heap as a whole they go with the next collection of the young.
 */
const buffersWithHeap = '--external-memory-accounted-in-global-limit'

/** Before the first thread starts. */
export function setFlags(): void {
  if (knowsFlags) [steadyWrappers, buffersWithHeap].forEach((flag) => setFlagsFromString(flag))
}
