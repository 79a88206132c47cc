/** Sends drawn requests to a service and judges every answer. */
import { Agent, request as httpRequest } from 'node:http'

import fc from 'fast-check'

import { Judge, type FuzzAnswer } from './judge.ts'
import { type Document, type FuzzRequest, operationsOf, requestsTo } from './operations.ts'

export interface FuzzOptions {
  readonly address: string
  readonly seed: number
  readonly requests: number
  readonly concurrency: number
  /** By scope. */
  readonly keys: Readonly<Record<string, string>>
  readonly known: readonly string[]
  /** Told after each batch how many have been sent. */
  readonly onBatch?: (sent: number) => Promise<void>
}

interface Fault {
  readonly request: string
  readonly fault: string
}

export interface FuzzReport {
  readonly requests: number
  readonly operations: number
  /** Requests that were right by their schema, and how many of them were answered well. */
  readonly right: number
  readonly rightAnswered: number
  readonly byStatus: Readonly<Record<string, number>>
  readonly longestMs: number
  readonly faults: readonly Fault[]
}

const batch = 500
/** One that takes longer hangs. */
const answerLimitMs = 20_000
const reportedFaults = 20

export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { address, seed, keys, known } = options
  const document = (await (await fetch(`${address}/openapi.json`)).json()) as Document
  const { schemas } = document.components
  const operations = operationsOf(document)
  const arbitrary = requestsTo(operations, { schemas, known, keys })
  const scopes = Object.fromEntries(Object.entries(keys).map(([scope, key]) => [key, [scope]]))
  const run = new Run(options, new Judge(scopes))
  for (let sent = 0; sent < options.requests; sent += batch) {
    const numRuns = Math.min(batch, options.requests - sent)
    await run.sendAll(fc.sample(arbitrary, { seed: seed + sent, numRuns }))
    await options.onBatch?.(sent + numRuns)
  }
  run.close()
  return { ...run.report(), operations: operations.length }
}

class Run {
  readonly #options: FuzzOptions
  readonly #judge: Judge
  readonly #agent: Agent
  readonly #faults: Fault[] = []
  readonly #byStatus = new Map<string, number>()
  readonly #right = { sent: 0, answered: 0 }
  #requests = 0
  #longestMs = 0

  constructor(options: FuzzOptions, judge: Judge) {
    this.#options = options
    this.#judge = judge
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.concurrency })
  }

  async sendAll(requests: readonly FuzzRequest[]): Promise<void> {
    const left = [...requests]
    const worker = async (): Promise<void> => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) await this.#one(next)
    }
    await Promise.all(Array.from({ length: this.#options.concurrency }, worker))
  }

  async #one(request: FuzzRequest): Promise<void> {
    const from = performance.now()
    try {
      const answer = await this.#send(request)
      this.#longestMs = Math.max(this.#longestMs, performance.now() - from)
      this.#count(request, answer)
      const fault = this.#judge.faultOf(request, answer)
      if (fault !== undefined) this.#blame(request, fault)
    } catch (error) {
      this.#blame(request, `no answer: ${String(error)}`)
    }
  }

  #count({ kind }: FuzzRequest, { status }: FuzzAnswer): void {
    this.#requests += 1
    this.#byStatus.set(String(status), (this.#byStatus.get(String(status)) ?? 0) + 1)
    if (kind !== 'right') return
    this.#right.sent += 1
    if (status < 300) this.#right.answered += 1
  }

  #blame({ method, path, headers, body = '' }: FuzzRequest, fault: string): void {
    const text = `${method} ${path} ${JSON.stringify(headers)} ${body.slice(0, 500)}`
    if (this.#faults.length < reportedFaults) this.#faults.push({ request: text, fault })
  }

  #send({ method, path, headers, body }: FuzzRequest): Promise<FuzzAnswer> {
    const { hostname, port } = new URL(this.#options.address)
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
      const sent = httpRequest(
        {
          hostname,
          port,
          method,
          path,
          agent: this.#agent,
          headers: { ...headers, ...length },
          timeout: answerLimitMs,
        },
        (answer) => {
          const chunks: Buffer[] = []
          answer.on('data', (chunk: Buffer) => chunks.push(chunk))
          answer.on('error', reject)
          answer.on('end', () => {
            const { statusCode: status = 0, headers: given } = answer
            resolve({ status, headers: given, body: Buffer.concat(chunks).toString() })
          })
        },
      )
      sent.on('timeout', () => sent.destroy(new Error(`nothing for ${answerLimitMs} ms`)))
      sent.on('error', reject)
      sent.end(body)
    })
  }

  report(): Omit<FuzzReport, 'operations'> {
    return {
      requests: this.#requests,
      right: this.#right.sent,
      rightAnswered: this.#right.answered,
      byStatus: Object.fromEntries([...this.#byStatus].toSorted(([a], [b]) => a.localeCompare(b))),
      longestMs: Math.round(this.#longestMs),
      faults: this.#faults,
    }
  }

  close(): void {
    this.#agent.destroy()
  }
}
