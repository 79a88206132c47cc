/** What is wrong with an answer, if anything: the rules that hold for every request. */
import * as z from 'zod'

import { errorTable, isErrorCode } from '../../../src/base/errors.ts'
import type { FuzzRequest, Operation } from './operations.ts'

export interface FuzzAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: string
}

const errorForm = z.strictObject({
  error: z.strictObject({
    code: z.string(),
    message: z.string().min(1),
    details: z.record(z.string(), z.union([z.string(), z.number()])),
    requestId: z.string().min(1),
  }),
})

/** Statuses that a request may have by chance, whatever it says. */
const byChance: ReadonlySet<number> = new Set([429, 503])

export class Judge {
  readonly #scopes: Readonly<Record<string, readonly string[]>>
  readonly #validators = new Map<Operation, ReadonlyMap<string, z.ZodType>>()

  /** `scopes`: of each key. */
  constructor(scopes: Readonly<Record<string, readonly string[]>>) {
    this.#scopes = scopes
  }

  /** Undefined: nothing is. */
  faultOf(request: FuzzRequest, answer: FuzzAnswer): string | undefined {
    const { status } = answer
    if (status < 200 || status >= 400) return this.#faultOfError(request, answer)
    if (!this.#mayCall(request)) return `answered ${status} without the scope`
    return this.#faultOfSuccess(request.operation, answer)
  }

  #faultOfError({ operation, kind }: FuzzRequest, { status, headers, body }: FuzzAnswer) {
    if (status === 500) return 'status 500'
    if (status === 503 && operation.path === '/health/ready') return undefined
    const parsed = errorForm.safeParse(jsonOf(body))
    if (!parsed.success) return `an error in another form: ${body.slice(0, 200)}`
    const { code } = parsed.data.error
    if (!isErrorCode(code)) return `code ${code} is not documented`
    if (errorTable[code].status !== status) return `${code} came with status ${status}`
    if (byChance.has(status) && headers['retry-after'] === undefined) return 'no retry-after'
    if (kind === 'right' && code === 'INTERNAL') return 'an internal error'
    return undefined
  }

  #faultOfSuccess(operation: Operation, { status, body }: FuzzAnswer): string | undefined {
    const validators = this.#validatorsOf(operation)
    if (validators.size === 0) return undefined
    const validator = validators.get(String(status))
    if (validator === undefined) return `status ${status} is not documented`
    const result = validator.safeParse(jsonOf(body))
    return result.success ? undefined : `not as documented: ${result.error.message}`
  }

  #validatorsOf(operation: Operation): ReadonlyMap<string, z.ZodType> {
    const known = this.#validators.get(operation)
    if (known !== undefined) return known
    const made = new Map(
      Object.entries(operation.answers)
        .filter(([status]) => status !== 'default')
        .map(([status, schema]) => [status, z.fromJSONSchema(schema as never)]),
    )
    this.#validators.set(operation, made)
    return made
  }

  #mayCall({ operation, headers }: FuzzRequest): boolean {
    if (operation.scope === undefined) return true
    const bearer = headers['authorization']?.replace(/^Bearer +/, '')
    const scopes = this.#scopes[bearer ?? headers['x-api-key'] ?? ''] ?? []
    return scopes.includes(operation.scope)
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
