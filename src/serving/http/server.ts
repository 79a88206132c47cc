/**
 * The HTTP server as a service: refuses an address that others can reach without keys, listens, and
 * on a stop lets what is under way finish before it closes.
 */
import type { FastifyInstance } from 'fastify'

import { ServiceError } from '../../base/errors.ts'
import type { Service } from '../../base/service.ts'
import { isLoopback } from './api-keys.ts'
import { createApp } from './app.ts'
import type { ServerDependencies } from './dependencies.ts'
import { Gate } from './gate.ts'
import { KeyFile } from './key-file.ts'
import { LoadGuard } from './load-guard.ts'
import { defaultHttpSettings } from './settings.ts'
import type { HttpSettings } from './settings.ts'

export class HttpServer implements Service {
  readonly name = 'http'
  readonly #settings: HttpSettings
  readonly #dependencies: ServerDependencies
  readonly #load: LoadGuard
  readonly #gate: Gate
  readonly #keys: KeyFile | undefined
  #app: FastifyInstance | undefined
  #address = ''

  constructor(settings: Partial<HttpSettings>, dependencies: ServerDependencies) {
    this.#settings = { ...defaultHttpSettings, ...settings }
    this.#dependencies = dependencies
    this.#load = new LoadGuard(this.#settings, dependencies.clock)
    const { clock, logger } = dependencies
    const { keysFile: file } = this.#settings
    this.#keys = file === undefined ? undefined : new KeyFile({ file, logger })
    this.#gate = new Gate(this.#settings, { load: this.#load, clock, keys: this.#keys })
  }

  /** `http://127.0.0.1:8080`; empty before `start`. */
  get address(): string {
    return this.#address
  }

  /**
   * Throws `HTTP_KEYS_REQUIRED`, `HTTP_PORT_BUSY`, `HTTP_PORT_FORBIDDEN`, `HTTP_ADDRESS_INVALID`.
   */
  async start(signal: AbortSignal): Promise<void> {
    const { host, port } = this.#settings
    if (this.#gate.open && !isLoopback(host)) {
      throw new ServiceError('HTTP_KEYS_REQUIRED', { host })
    }
    const { dependencies, settings, gate, load } = this.#parts()
    this.#app = await createApp({ dependencies, settings, gate, load })
    signal.throwIfAborted()
    try {
      const listening = await this.#app.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port })
      const isSecure = this.#settings.tls !== undefined
      this.#address = isSecure ? listening.replace(/^http:/, 'https:') : listening
    } catch (error) {
      throw listenError(error, { host, port })
    }
    this.#load.start()
    this.#keys?.start()
  }

  /** Refuses new work, answers what was begun, and closes; what takes longer is cut off. */
  async drain(): Promise<void> {
    const app = this.#app
    if (app === undefined) return
    this.#gate.drain()
    const cut = setTimeout(() => app.server.closeAllConnections(), this.#settings.drainMs)
    try {
      await app.close()
    } finally {
      clearTimeout(cut)
    }
  }

  async stop(): Promise<void> {
    this.#load.stop()
    this.#keys?.stop()
    this.#app?.server.closeAllConnections()
    await this.#app?.close()
    this.#app = undefined
  }

  #parts() {
    return {
      dependencies: this.#dependencies,
      settings: this.#settings,
      gate: this.#gate,
      load: this.#load,
    }
  }
}

function listenError(error: unknown, { host, port }: { host: string; port: number }): ServiceError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return new ServiceError('HTTP_PORT_BUSY', { host, port })
  if (code === 'EACCES') return new ServiceError('HTTP_PORT_FORBIDDEN', { host, port })
  return new ServiceError('HTTP_ADDRESS_INVALID', { host, port, reason: String(error) })
}
