/** The thread of the job `export`; see `export-job.ts`. */
import { parentPort, workerData } from 'node:worker_threads'

import { present } from '../base/assert.ts'
import { systemClock } from '../base/clock.ts'
import { toPlain } from '../trainer/trainer-protocol.ts'
import type { ExportMessage, ExportTask } from './export-job.ts'
import { exportTables } from './tables/table-export.ts'

// Cloned from a value of that type.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const task = workerData as ExportTask
const port = present(parentPort, 'the port to who asks')
const say = (message: ExportMessage): void => port.postMessage(message)

try {
  const result = await exportTables({
    ...task,
    isLive: true,
    clock: systemClock,
    progress: () => undefined,
  })
  say({ result: JSON.stringify(result) })
} catch (error) {
  say({ failure: toPlain(error) })
}
