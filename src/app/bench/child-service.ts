/**
 * The service as a child process with a data directory of its own: for benchmarks, where load and
 * service must not share an event loop.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { ServiceError } from '../../base/errors.ts'
import { runtimeFlags } from '../runtime-flags.ts'

export interface ChildOptions {
  /** Flags of `freshet start` besides the data directory and the port. */
  readonly flags: readonly string[]
  /** Absent: a temporary one, removed at the end. */
  readonly dataDirectory?: string
  /** Flags of Node besides ours. */
  readonly nodeFlags?: readonly string[]
  readonly onLog?: (line: string) => void
}

const entry = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../cli.ts' : '../cli.js', import.meta.url),
)

export class ChildService {
  readonly address: string
  readonly dataDirectory: string
  readonly #child: ChildProcess
  readonly #temporary: boolean

  private constructor(
    child: ChildProcess,
    given: { address: string; dataDirectory: string; temporary: boolean },
  ) {
    this.#child = child
    this.address = given.address
    this.dataDirectory = given.dataDirectory
    this.#temporary = given.temporary
  }

  /** Resolves when it listens. Throws `CHILD_FAILED` with what it said last. */
  static async start(options: ChildOptions): Promise<ChildService> {
    const temporary = options.dataDirectory === undefined
    const dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), 'freshet-'))
    const flags = ['start', '--json', '--port', '0', '--data', dataDirectory, ...options.flags]
    const nodeFlags = [...runtimeFlags, ...(options.nodeFlags ?? [])]
    const child = spawn(process.execPath, [...nodeFlags, entry, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let lastWords = ''
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (!line.startsWith('    at ')) lastWords = line
      options.onLog?.(line)
    })
    const lines = createInterface({ input: child.stdout })
    for await (const line of lines) {
      const address = /"address":"([^"]+)"/.exec(line)?.[1]
      if (address !== undefined) {
        return new ChildService(child, { address, dataDirectory, temporary })
      }
    }
    throw new ServiceError('CHILD_FAILED', { what: 'freshet start', reason: lastWords })
  }

  get processId(): number {
    return this.#child.pid ?? -1
  }

  /** Sends the signal and waits for the end; the temporary data directory goes too. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit')
      this.#child.kill(signal)
      await exited
    }
    if (this.#temporary) rmSync(this.dataDirectory, { recursive: true, force: true })
    return this.#child.exitCode
  }
}
