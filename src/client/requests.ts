/**
 * Requests that come back: each has a time limit, and what is safe to repeat is repeated after a
 * failure that may pass, so many times and no more.
 */

export interface ClientOptions {
  /** `https://recommendations.example`; a path before the API's own is kept. */
  readonly baseUrl: string
  readonly apiKey?: string
  /** Of one try, in milliseconds. Default 5,000. */
  readonly timeoutMs?: number
  /** Tries after the first. Default 3. */
  readonly retries?: number
  /** Ends all requests. */
  readonly signal?: AbortSignal
  /** Default: the platform's. */
  readonly fetch?: typeof fetch
}

/** An answer that is an error, or none at all. */
export class FreshetError extends Error {
  override readonly name = 'FreshetError'
  /** 0: there was no answer. */
  readonly status: number
  /** Of the table in docs/api.md; `UNREACHABLE` where there was no answer. */
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>
  readonly requestId: string | undefined

  constructor(status: number, problem: Problem, options?: ErrorOptions) {
    super(problem.message, options)
    this.status = status
    this.code = problem.code
    this.details = problem.details ?? {}
    this.requestId = problem.requestId
  }
}

interface Problem {
  readonly code: string
  readonly message: string
  readonly details?: Readonly<Record<string, unknown>>
  readonly requestId?: string
}

export interface Request {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** From the API's root. */
  readonly path: string
  readonly body?: unknown
  /** Makes a write safe to repeat. */
  readonly idempotencyKey?: string
  /** Not safe to repeat, or of no use. */
  readonly isOnce?: boolean
  /** Lets a page send it while it closes. */
  readonly keepalive?: boolean
  /** A status that is an answer too, where the body is no problem. */
  readonly accepts?: number
}

/** Statuses of what may go well the next time. */
const passing: ReadonlySet<number> = new Set([408, 429, 502, 503, 504])

const firstPauseMs = 100
const longestPauseMs = 5_000

export class Requests {
  readonly #options: ClientOptions
  readonly #root: string

  constructor(options: ClientOptions) {
    this.#options = options
    this.#root = options.baseUrl.replace(/\/+$/, '')
  }

  /** Rejects with `FreshetError`. The answer is what the API says it is, unchecked. */
  async json<Answer>(request: Request): Promise<Answer> {
    const text = await this.text(request)
    try {
      const answer: Answer = JSON.parse(text)
      return answer
    } catch (cause) {
      // Somebody between here and the service has answered.
      throw new FreshetError(
        0,
        { code: 'UNREACHABLE', message: 'an answer not in JSON' },
        { cause },
      )
    }
  }

  /** The same as it came. */
  async text(request: Request): Promise<string> {
    const { retries = 3, signal } = this.#options
    const last = request.isOnce === true ? 0 : retries
    for (let tried = 0; ; tried += 1) {
      const outcome = await this.#try(request)
      if ('answer' in outcome) return outcome.answer
      if (tried === last || !outcome.mayPass || signal?.aborted === true) throw outcome.error
      await pause(outcome.retryAfterMs ?? backOff(tried), signal)
    }
  }

  async #try(request: Request): Promise<Outcome> {
    const { timeoutMs = 5_000, signal, fetch: send = fetch } = this.#options
    const limit = AbortSignal.timeout(timeoutMs)
    try {
      const response = await send(this.#root + request.path, {
        method: request.method,
        headers: this.#headers(request),
        signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
        ...(request.keepalive === true ? { keepalive: true } : {}),
      })
      // A body that breaks off is no answer: it fails here.
      const text = await response.text()
      if (!response.ok && !isAccepted(request, response, text)) return failureOf(response, text)
      return { answer: text }
    } catch (cause) {
      const message = rootOf(cause)
      const error = new FreshetError(0, { code: 'UNREACHABLE', message }, { cause })
      return { error, mayPass: true, retryAfterMs: undefined }
    }
  }

  #headers({ body, idempotencyKey }: Request): Record<string, string> {
    const { apiKey } = this.#options
    return {
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
    }
  }
}

type Outcome =
  | { readonly answer: string }
  | {
      readonly error: FreshetError
      readonly mayPass: boolean
      readonly retryAfterMs: number | undefined
    }

function failureOf(response: Response, text: string): Outcome {
  const { status, headers } = response
  const seconds = Number(headers.get('retry-after') ?? Number.NaN)
  return {
    error: new FreshetError(status, problemOf(text) ?? { code: 'UNKNOWN', message: `${status}` }),
    mayPass: passing.has(status),
    retryAfterMs: Number.isNaN(seconds) ? undefined : Math.min(seconds * 1_000, longestPauseMs),
  }
}

const isAccepted = ({ accepts }: Request, { status }: Response, text: string): boolean =>
  status === accepts && problemOf(text) === undefined

/** What is behind "fetch failed". */
function rootOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  return cause.cause === undefined ? cause.message : rootOf(cause.cause)
}

/** undefined: somebody between here and the service has answered. */
function problemOf(text: string): Problem | undefined {
  try {
    const { error }: { readonly error?: Problem } = JSON.parse(text)
    return typeof error?.code === 'string' ? error : undefined
  } catch {
    return undefined
  }
}

/** Twice as long each time, and by chance up to that: clients that failed together come apart. */
const backOff = (tried: number): number =>
  Math.random() * Math.min(longestPauseMs, firstPauseMs * 2 ** (tried + 1))

const pause = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal?.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
  })
