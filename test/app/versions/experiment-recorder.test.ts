/** The record of one process: files beside the event log. */
import { join } from 'node:path'

import { ExperimentRecorder } from '../../../src/app/versions/experiment-recorder.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { FileLog } from '../../../src/stream/files/file-log.ts'
import { testExperiment } from '../../contract/experiment.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

testExperiment(async () => {
  const directory = temporaryDirectory()
  const log = await FileLog.open({ directory: join(directory.path, 'log'), fsync: 'never' })
  const start = async (): Promise<ExperimentRecorder> => {
    const recorder = new ExperimentRecorder({
      directory: join(directory.path, 'experiment'),
      log,
      clock: systemClock,
      windowMs: 60_000,
      maxAnswers: 100,
      maxItems: 10,
      usersPercent: 100,
      types: ['click'],
      segmentBytes: 4_096,
      keepSegments: 2,
      isWanted: () => true,
      onTrouble(error) {
        throw error
      },
    })
    await recorder.start()
    return recorder
  }
  const desks = [await start()]
  return {
    desks,
    async append(events) {
      await log.append(events)
    },
    async killCounter() {
      await desks[0].stop()
      desks[0] = await start()
    },
    async [Symbol.asyncDispose]() {
      await desks[0].stop()
      await log.close()
      directory[Symbol.dispose]()
    },
  }
})
