/** The whole service as its own process, on a free port and in a directory of its own; ready to be asked. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

import { ChaosService } from '../simulation/chaos-service.ts'

export interface ServiceProcess extends AsyncDisposable {
  readonly address: string
  readonly dataDirectory: string
  /** What it wrote to stderr. */
  readonly log: readonly string[]
  /** Ends it; the exit code, null when the signal ended it. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
}

const readyTries = 600

export async function startService(flags: readonly string[] = []): Promise<ServiceProcess> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'freshet-test-'))
  const log: string[] = []
  const child = new ChaosService({ dataDirectory, flags, onLog: (line) => log.push(line) })
  const address = await child.address()
  if (address === undefined) throw new Error(`did not start: ${log.join('\n')}`)
  await untilReady(address)
  return {
    address,
    dataDirectory,
    log,
    end: (signal) => child.end(signal),
    [Symbol.asyncDispose]: async () => {
      await child.end('SIGTERM')
      await rm(dataDirectory, { recursive: true, force: true })
    },
  }
}

async function untilReady(address: string): Promise<void> {
  for (let tries = 0; tries < readyTries; tries += 1) {
    const answer = await fetch(`${address}/health/ready`).catch(() => undefined)
    if (answer?.status === 200) return
    await setTimeout(50)
  }
  throw new Error(`not ready after ${readyTries} tries`)
}
