/**
 * A real object store that speaks S3 (SeaweedFS), with one bucket, as a process of its own; killed
 * when it is disposed. Nothing is skipped: where it cannot be had, a test fails.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'

import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'

import type { S3Options } from '../../src/trainer/checkpoint/s3-objects.ts'
import { s3ServerProgram } from './fetch-s3.ts'
import { freePort } from './ports.ts'
import { hasEnded } from './programs.ts'
import { until } from './redis-server.ts'

const host = '127.0.0.1'
const credentials = { accessKeyId: 'freshet', secretAccessKey: 'a-secret-of-tests' }
const bucket = 'checkpoints'

export class S3Server implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'freshet-s3-'))
  readonly #ports: readonly number[]
  #process: ChildProcess | undefined

  private constructor(ports: readonly number[]) {
    this.#ports = ports
  }

  static async start(): Promise<S3Server> {
    const ports: number[] = []
    for (let i = 0; i < 8; i += 1) ports.push(await freePort())
    const server = new S3Server(ports)
    try {
      await server.start()
      await server.#makeBucket()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  get port(): number {
    return this.#ports[0]
  }

  get settings(): S3Options {
    const endpoint = `http://${host}:${this.port}`
    return {
      bucket,
      region: 'us-east-1',
      endpoint,
      pathStyle: true,
      credentials,
      requestTimeoutMs: 5_000,
    }
  }

  /** Also after `kill`: at the same address, with what it had. */
  async start(): Promise<void> {
    const names = ['s3', 'master', 'volume', 'filer']
    const ports = names.flatMap((name, i) => [
      `-${name}.port=${this.#ports[2 * i]}`,
      `-${name}.port.grpc=${this.#ports[2 * i + 1]}`,
    ])
    const flags = [
      '-s3',
      '-s3.iam=false',
      '-s3.autoCreateBucket=false',
      // Listeners that nobody asks, on ports of their own choice: two servers would end each other.
      '-s3.port.iceberg=0',
      '-s3.port.lance=0',
      '-master.volumeSizeLimitMB=64',
      // Started again it elects itself anew, and waits this long for others: 10 s by default.
      '-master.electionTimeout=1s',
      '-master.telemetry=false',
      '-volume.max=8',
    ]
    const places = [`-ip=${host}`, `-ip.bind=${host}`, `-dir=${this.#directory}`]
    const child = spawn(s3ServerProgram(), ['server', ...places, ...ports, ...flags], {
      stdio: 'ignore',
      cwd: this.#directory,
      env: {
        ...env,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
    })
    this.#process = child
    process.once('exit', () => child.kill('SIGKILL'))
    await until('an object store', async () => {
      if (hasEnded(child)) throw new Error('it has ended')
      const answer = await fetch(`http://${host}:${this.#ports[0]}/healthz`)
      return answer.status === 200
    })
  }

  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || hasEnded(child)) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  async stop(): Promise<void> {
    await this.kill()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #makeBucket(): Promise<void> {
    const { endpoint, region } = this.settings
    const options = { region, forcePathStyle: true, credentials }
    const client = new S3Client({ ...options, ...(endpoint !== undefined && { endpoint }) })
    await until('a bucket', async () => {
      await client.send(new CreateBucketCommand({ Bucket: bucket }))
      return true
    })
    client.destroy()
  }
}
