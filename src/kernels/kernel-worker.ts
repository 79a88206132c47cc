/**
 * A thread of a `ThreadPool`: waits for calls and does shares of each, until it is told to stop.
 */
import { parentPort, workerData } from 'node:worker_threads'

import { kernelTable } from './kernel-table.ts'
import { instantiate, type KernelSite } from './kernels.ts'
import { PoolControl, stop } from './pool-control.ts'

/** What a pool hands to each of its threads. */
export interface WorkerTask {
  /** 1 to threads - 1; the pool's own thread is 0. */
  readonly thread: number
  readonly site: KernelSite
  readonly control: SharedArrayBuffer
}

function serve({ thread, site, control: buffer }: WorkerTask): void {
  const table = kernelTable(instantiate(site))
  const control = new PoolControl(buffer)
  parentPort?.postMessage('ready', [])
  for (let seen = 0; ;) {
    seen = control.next(seen)
    const call = control.enter()
    if (call?.kernel === stop) return
    if (call === undefined) continue
    try {
      table.runShares(call, control)
    } catch (error) {
      control.fail(thread, String(error))
    }
    control.leave()
  }
}

// Nobody but a pool starts this file.
const task: WorkerTask = workerData
serve(task)
