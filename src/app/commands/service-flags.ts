/** How a command reaches a running service, and waits there for the end of a run. */
import type { Command } from 'commander'

import { environment } from '../config/config.ts'
import { wholeNumber } from '../flags.ts'
import { type JobRequest, type RanJob, ServiceClient } from '../service-client.ts'

export interface ServiceFlags {
  readonly address: string
  readonly key?: string
}

export interface WaitFlags extends ServiceFlags {
  readonly timeout: number
}

const pollMs = 200

/** Declares `--address` and `--key`. */
export const withService = (command: Command): Command =>
  command
    .option('-a, --address <url>', 'where it listens', 'http://127.0.0.1:8080')
    .option('--key <key>', 'API key with the scope admin (default: FRESHET_API_KEY)')

/** Declares `--timeout`. */
export const withTimeout = (command: Command): Command =>
  command.option('--timeout <seconds>', 'how long to wait for its end', wholeNumber(1, 86_400), 600)

export const clientOf = ({ address, key }: ServiceFlags, signal: AbortSignal): ServiceClient =>
  new ServiceClient(address.replace(/\/$/, ''), signal, key ?? environment['FRESHET_API_KEY'])

/** The run when it has ended, or as it stands after the timeout. */
export async function runToEnd(
  client: ServiceClient,
  request: JobRequest,
  { timeout, onProgress }: { timeout: number; onProgress?: (run: RanJob) => void },
): Promise<RanJob> {
  let run = await client.startJob(request)
  const giveUp = AbortSignal.timeout(timeout * 1_000)
  while (run.state === 'running' && !giveUp.aborted) {
    onProgress?.(run)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
    run = await client.job(run.id)
  }
  return run
}
