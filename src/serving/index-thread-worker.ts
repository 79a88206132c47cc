/** The thread behind an `IndexThread`: takes an order, carries it out, sends what came of it. */
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'

import { type Answers, follow, type Order } from '../ann/background.ts'
import { IndexMemory, type IndexSite } from '../ann/index-memory.ts'
import { present } from '../base/assert.ts'

/** Where processors are few, who answers goes first; but without a tree answers take long. */
const niceness = 4

function carryOut(memory: IndexMemory, order: Order): Answers {
  const steps = follow(memory, order)
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}

function serve(site: IndexSite): void {
  // On Linux a thread has a priority of its own; elsewhere this would be the whole process's.
  if (process.platform === 'linux') setPriority(niceness)
  const memory = IndexMemory.attach(site)
  const port = present(parentPort, 'a thread that was started by an index')
  port.on('message', (order: Order) => port.postMessage(carryOut(memory, order), []))
}

// Nobody but an `IndexThread` starts this file.
const site: IndexSite = workerData
serve(site)
