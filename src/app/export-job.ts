/**
 * The job `export`: rows of the newest checkpoint's tables to files under `exports` of the data
 * directory, by a thread of its own, as they are loaded whole. The oldest exports make room.
 */
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { CommandChannel } from '../jobs/command-channel.ts'
import type { ExportRequest, TableExport } from '../jobs/jobs.ts'
import { CommandClient, CommandServer } from '../jobs/owner-commands.ts'
import type { JobContext, JobResult } from '../jobs/scheduler.ts'
import { fromPlain, type PlainError } from '../trainer/trainer-protocol.ts'
import type { Config } from './config/config-schema.ts'

/** What the thread is told. */
export interface ExportTask {
  readonly config: Config
  readonly tables: readonly string[]
  readonly format: ExportRequest['format']
  readonly directory: string
}

/** What it says at its end; a result as JSON. */
export type ExportMessage = { readonly result: string } | { readonly failure: PlainError }

/** Exports that stay, the one just written among them. */
const keptExports = 3

/** `now`: of the version of the model that answers when a run begins. */
export function exportJob(own: Config, now: () => Config = () => own): TableExport {
  const root = join(own.process.dataDirectory, 'exports')
  return {
    get tables() {
      return now().model.tables.map(({ name }) => name)
    },
    async write({ table, format }, { run, signal }) {
      const directory = join(root, run)
      try {
        const tables = table === undefined ? [] : [table]
        const result = await inThread({ config: now(), tables, format, directory }, signal)
        removeOldest(root)
        return result
      } catch (error) {
        rmSync(directory, { recursive: true, force: true })
        throw error
      }
    },
  }
}

/** A service: writes what jobs of other processes ask for, where the checkpoints are. */
export function serveExports(channel: CommandChannel, tables: TableExport): CommandServer {
  return new CommandServer({
    channel,
    execute: ({ table, format }, context) =>
      tables.write(
        {
          format: format === 'npy' ? 'npy' : 'ndjson',
          ...(typeof table === 'string' && { table }),
        },
        context,
      ),
  })
}

/** Of a process that has the checkpoints; `close` when nobody asks any more. */
export function askExports(
  channel: CommandChannel,
  { tables, clock }: { readonly tables: readonly string[]; readonly clock: Clock },
): TableExport & { close(): void } {
  const client = new CommandClient({ channel, clock })
  return {
    tables,
    write: (request, { run: id, ...context }) =>
      client.ask({ kind: 'export', ...request }, { id, ...context }),
    close: () => client.close(),
  }
}

async function inThread(task: ExportTask, signal: JobContext['signal']): Promise<JobResult> {
  signal.throwIfAborted()
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
  const file = new URL(`./export-worker${extension}`, import.meta.url)
  const worker = new Worker(file, { workerData: task, execArgv: [] })
  const { promise, resolve, reject } = Promise.withResolvers<JobResult>()
  worker.on('message', (message: ExportMessage) => {
    // The thread has written it.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    if ('result' in message) resolve(JSON.parse(message.result) as JobResult)
    else reject(fromPlain(message.failure))
  })
  worker.on('error', reject)
  const ended = new ServiceError('OUTPUT_FAILED', {
    file: task.directory,
    reason: 'the thread that writes it has ended',
  })
  worker.on('exit', () => reject(ended))
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    await worker.terminate()
  }
}

function removeOldest(root: string): void {
  const newest = readdirSync(root)
    .map((name) => join(root, name))
    .map((path) => ({ path, at: statSync(path).mtimeMs }))
    .toSorted((a, b) => b.at - a.at)
  for (const { path } of newest.slice(keptExports)) rmSync(path, { recursive: true, force: true })
}
