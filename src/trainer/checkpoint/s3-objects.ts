/**
 * Objects in a bucket of S3, or of what speaks its protocol. The only file that knows the client,
 * which repeats what failed in passing, sends a checksum with every object and checks those that it
 * gets back. Without keys it looks for credentials as all of its kind do: variables, a web
 * identity, the machine's role.
 */
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'

import { ServiceError } from '../../base/errors.ts'
import type { ObjectStore } from './object-store.ts'

/** Plain data, so that it can be handed to a worker thread. */
export interface S3Options {
  readonly bucket: string
  readonly region: string
  /** Absent: Amazon's own. */
  readonly endpoint?: string
  /** The bucket in the path, not in the host's name. */
  readonly pathStyle: boolean
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** Of one try. */
  readonly requestTimeoutMs: number
}

const connectTimeoutMs = 2_000
const maxAttempts = 4
const absent = new Set(['NoSuchKey', 'NotFound'])

export class S3Objects implements ObjectStore {
  readonly place: string
  readonly #bucket: string
  readonly #client: S3Client
  readonly #closing = new AbortController()

  constructor({ bucket, region, pathStyle, requestTimeoutMs, ...rest }: S3Options) {
    this.place = `s3://${bucket}`
    this.#bucket = bucket
    this.#client = new S3Client({
      region,
      forcePathStyle: pathStyle,
      maxAttempts,
      requestHandler: {
        connectionTimeout: connectTimeoutMs,
        requestTimeout: requestTimeoutMs,
        throwOnRequestTimeout: true,
      },
      ...rest,
    })
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const command = new PutObjectCommand({ Bucket: this.#bucket, Key: key, Body: bytes })
    await this.#ask((options) => this.#client.send(command, options))
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key })
    return await this.#ask(async (options) => {
      try {
        const { Body: body } = await this.#client.send(command, options)
        return await body?.transformToByteArray()
      } catch (error) {
        if (error instanceof S3ServiceException && absent.has(error.name)) return undefined
        throw error
      }
    })
  }

  async list(prefix: string): Promise<readonly string[]> {
    const keys: string[] = []
    let token: string | undefined
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: prefix,
        ContinuationToken: token,
      })
      const page = await this.#ask((options) => this.#client.send(command, options))
      for (const { Key: key } of page.Contents ?? []) if (key !== undefined) keys.push(key)
      token = page.NextContinuationToken
    } while (token !== undefined)
    return keys
  }

  async remove(key: string): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: this.#bucket, Key: key })
    await this.#ask((options) => this.#client.send(command, options))
  }

  close(): void {
    this.#closing.abort()
    this.#client.destroy()
  }

  async #ask<Answer>(
    request: (options: { readonly abortSignal: AbortSignal }) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      return await request({ abortSignal: this.#closing.signal })
    } catch (cause) {
      const details = { place: this.place, reason: reasonOf(cause) }
      const code = isRefusal(cause) ? 'CHECKPOINT_STORE_REFUSED' : 'CHECKPOINT_STORE_UNAVAILABLE'
      throw new ServiceError(code, details, { cause })
    }
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error)

/** What asking again would not change: a wrong key, a missing right, no such bucket. */
const isRefusal = (error: unknown): boolean => {
  if (error instanceof Error && error.name === 'CredentialsProviderError') return true
  if (!(error instanceof S3ServiceException)) return false
  const status = error.$metadata.httpStatusCode ?? 500
  return status >= 300 && status < 500 && status !== 408 && status !== 429
}
