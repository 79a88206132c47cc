/** The live service as a child that is fed over HTTP and killed without warning. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const commandLine = fileURLToPath(new URL('../../src/app/cli.ts', import.meta.url))
const startLimitMs = 60_000

export interface ChaosServiceOptions {
  readonly dataDirectory: string
  readonly flags: readonly string[]
  readonly onLog: (line: string) => void
  /** A program that understands the same arguments, and messages; default: the command line. */
  readonly program?: string
}

export class ChaosService {
  readonly #child: ChildProcess
  readonly #address: Promise<string | undefined>
  /** The exit code when it has ended; null: a signal ended it. */
  readonly exited: Promise<number | null>

  constructor({ dataDirectory, flags, onLog, program }: ChaosServiceOptions) {
    const args = ['start', '--json', '--port', '0', '--data', dataDirectory, ...flags]
    const messages = program === undefined ? [] : ['ipc' as const]
    this.#child = spawn(process.execPath, [program ?? commandLine, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', ...messages],
    })
    // Also when the test process is stopped in the middle.
    const kill = (): void => void this.#child.kill('SIGKILL')
    process.once('exit', kill)
    this.exited = once(this.#child, 'exit').then(() => {
      process.off('exit', kill)
      return this.#child.exitCode
    })
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

  get pid(): number | undefined {
    return this.#child.pid
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Sends the signal and waits for the end. The exit code; null when the signal ended it. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    if (!this.ended) this.#child.kill(signal)
    return await this.exited
  }

  /** Stops it in the middle of whatever it does; it is not told. */
  pause(): void {
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    this.#child.kill('SIGCONT')
  }

  /** The answer of a program that understands messages. */
  async ask(question: string, limitMs: number): Promise<unknown> {
    const signal = AbortSignal.timeout(limitMs)
    const answered = once(this.#child, 'message', { signal })
    this.#child.send(question)
    const [answer] = await answered
    return answer
  }
}
