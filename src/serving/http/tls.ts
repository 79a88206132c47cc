/**
 * HTTPS from PEM files. A certificate is replaced long before it ends: changed files are taken up
 * while the server runs, for connections that are made from then on.
 */
import { readFileSync, statSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer, type Server, type ServerOptions } from 'node:https'
import { createSecureContext } from 'node:tls'

import { ServiceError } from '../../base/errors.ts'
import type { Logger } from './dependencies.ts'
import type { TlsFiles } from './settings.ts'

const lookMs = 5_000

export class TlsServer {
  readonly #files: TlsFiles
  readonly #logger: Pick<Logger, 'info' | 'error'>
  #version: string
  #server: Server | undefined

  /** Throws `HTTP_TLS_INVALID`. */
  constructor(files: TlsFiles, logger: Pick<Logger, 'info' | 'error'>) {
    this.#files = files
    this.#logger = logger
    this.#version = versionOf(files)
    readPem(files)
  }

  /** Throws `HTTP_TLS_INVALID`. */
  create(options: ServerOptions, listener: RequestListener): Server {
    const server = createServer(
      { ...options, ...readPem(this.#files), minVersion: 'TLSv1.2' },
      listener,
    )
    const timer = setInterval(() => this.refresh(), lookMs).unref()
    server.once('close', () => clearInterval(timer))
    this.#server = server
    return server
  }

  /** Takes what has changed; what is no pair of certificate and key changes nothing. */
  refresh(): void {
    const version = versionOf(this.#files)
    if (version === this.#version) return
    this.#version = version
    try {
      this.#server?.setSecureContext({ ...readPem(this.#files), minVersion: 'TLSv1.2' })
      this.#logger.info({ file: this.#files.certFile }, 'the certificate has changed')
    } catch (err) {
      this.#logger.error({ err }, 'the certificate was changed to none; the one before holds')
    }
  }
}

function readPem({ certFile, keyFile }: TlsFiles): { readonly cert: Buffer; readonly key: Buffer } {
  try {
    const pem = { cert: readFileSync(certFile), key: readFileSync(keyFile) }
    createSecureContext(pem)
    return pem
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ServiceError('HTTP_TLS_INVALID', { certFile, keyFile, reason }, { cause })
  }
}

const versionOf = ({ certFile, keyFile }: TlsFiles): string =>
  [certFile, keyFile]
    .map((file) => statSync(file, { throwIfNoEntry: false }))
    .map((found) => `${found?.ino}-${found?.size}-${found?.mtimeMs}`)
    .join()
