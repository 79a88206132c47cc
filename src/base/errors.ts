/**
 * The one table of operating errors: what goes wrong in a correct program. Each has a code that a
 * client can branch on, the HTTP status it maps to, and whether the same call may simply be made
 * again. Programmer errors are not here: they are assertions.
 */
const table = {
  REQUEST_INVALID: {
    status: 400,
    retryable: false,
    text: 'the request is invalid at {path}: {reason}',
  },
  EVENT_INVALID: { status: 400, retryable: false, text: 'event is invalid at {path}: {reason}' },
  CONFIG_INVALID: {
    status: 500,
    retryable: false,
    text: '{source} is invalid at {path}: {reason}',
  },
  KERNELS_UNAVAILABLE: {
    status: 500,
    retryable: false,
    text: 'kernels cannot be loaded from {file}: {reason}; build them with `npm run kernels`',
  },
  KERNEL_WORKER_LOST: {
    status: 500,
    retryable: false,
    text: 'kernel thread {thread} of {threads} failed in {kernel}: {reason}',
  },
  MEMORY_EXHAUSTED: {
    status: 500,
    retryable: false,
    text: '{bytes} bytes do not fit: {available} of {capacity} are free',
  },
} as const satisfies Record<string, { status: number; retryable: boolean; text: string }>

export type ErrorCode = keyof typeof table

export type ErrorDetails = Readonly<Record<string, string | number>>

/** An operating error. `details` fill the text's placeholders and travel to the client. */
export class ServiceError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, details: ErrorDetails, options?: ErrorOptions) {
    super(fill(table[code].text, details), options)
    this.name = 'ServiceError'
    this.code = code
    this.details = details
  }

  get status(): number {
    return table[this.code].status
  }

  get retryable(): boolean {
    return table[this.code].retryable
  }
}

const fill = (text: string, details: ErrorDetails): string =>
  text.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? `{${name}}`))
