/**
 * The composition root of the embedded shape: one process with every role. The event log and the HTTP
 * server live on this thread, the trainer in a worker, and parameters travel between them by the same
 * deltas as between processes. Started in the order of the flow, stopped in the opposite one.
 */
import { MessageChannel } from 'node:worker_threads'

import type { Clock } from '../base/clock.ts'
import type { Service } from '../base/service.ts'
import { startAll, stopAll } from '../base/service.ts'
import { defineJobs } from '../jobs/jobs.ts'
import { systemTimers, TimerScheduler } from '../jobs/timer-scheduler.ts'
import { factsReaders } from '../serving/http/facts-readers.ts'
import { Metrics } from '../serving/http/metrics.ts'
import { HttpServer } from '../serving/http/server.ts'
import { ServingService } from '../serving/serving-service.ts'
import { LocalSubscriber } from '../sync/local-sync.ts'
import type { Config } from './config-schema.ts'
import { prepareDataDirectory } from './data-directory.ts'
