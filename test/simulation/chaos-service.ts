/** The live service as a child that is fed over HTTP and killed without warning. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const entry = fileURLToPath(new URL('../../src/app/cli.ts', import.meta.url))
const startLimitMs = 60_000

export interface ChaosServiceOptions {
  readonly dataDirectory: string
  readonly flags: readonly string[]
  readonly onLog: (line: string) => void
}

export class ChaosService {
  readonly #child: ChildProcess
  readonly #address: Promise<string | undefined>

  constructor({ dataDirectory, flags, onLog }: ChaosServiceOptions) {
    const args = [entry, 'start', '--json', '--port', '0', '--data', dataDirectory, ...flags]
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const { stdout, stderr } = this.#child
    if (stderr !== null) createInterface({ input: stderr }).on('line', onLog)
    const found = Promise.withResolvers<string | undefined>()
    if (stdout !== null) {
      createInterface({ input: stdout })
        .on('line', (line) => {
          const address = /"address":"([^"]+)"/.exec(line)?.[1]
          if (address !== undefined) found.resolve(address)
        })
        .on('close', () => found.resolve(undefined))
    }
    setTimeout(() => found.resolve(undefined), startLimitMs).unref()
    this.#address = found.promise
  }

  /** Where it listens; undefined if it ended before. */
  address(): Promise<string | undefined> {
    return this.#address
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Sends the signal and waits for the end. The exit code; null when the signal ended it. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    if (!this.ended) {
      const exited = once(this.#child, 'exit')
      this.#child.kill(signal)
      await exited
    }
    return this.#child.exitCode
  }
}
