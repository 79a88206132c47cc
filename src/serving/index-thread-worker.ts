/** The thread behind an `IndexThread`: takes an order, carries it out, says what came of it. */
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'

import { type Answers, follow, type Order } from '../ann/background.ts'
import { IndexMemory, type IndexSite } from '../ann/index-memory.ts'
import { present } from '../base/assert.ts'
import { IndexSave } from './index-save.ts'
import type { ThreadOrder, ThreadReply } from './index-thread.ts'

/**
 * Where processors are few, who answers goes first, and who learns (5) next: while a tree grew
 * beside it at 4, a trainer fell a second behind.
 */
const niceness = 9

class IndexThreadWorker {
  readonly #memory: IndexMemory
  #save: IndexSave | undefined

  constructor(memory: IndexMemory) {
    this.#memory = memory
  }

  carryOut(order: ThreadOrder): ThreadReply {
    if (order.kind === 'order') return { kind: 'answers', answers: this.#follow(order.order) }
    try {
      if (order.kind === 'save') this.#save = new IndexSave(this.#memory, order.save)
      else this.#save?.finish()
      return { kind: order.kind === 'save' ? 'copied' : 'saved' }
    } catch (error) {
      return { kind: 'notSaved', reason: String(error) }
    }
  }

  #follow(order: Order): Answers {
    const steps = follow(this.#memory, order)
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    return step.value
  }
}

function serve(site: IndexSite): void {
  // On Linux a thread has a priority of its own; elsewhere this would be the whole process's.
  if (process.platform === 'linux') setPriority(niceness)
  const worker = new IndexThreadWorker(IndexMemory.attach(site))
  const port = present(parentPort, 'a thread that was started by an index')
  port.on('message', (order: ThreadOrder) => port.postMessage(worker.carryOut(order), []))
}

// Nobody but an `IndexThread` starts this file.
const site: IndexSite = workerData
serve(site)
