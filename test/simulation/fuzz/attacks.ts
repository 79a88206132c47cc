/**
 * What no client library would send: bytes on a socket. Every attack must be answered with an error
 * in the documented form, or the connection closed, within a limit; and nothing must come of it.
 */
import { connect } from 'node:net'

export interface Attack {
  readonly name: string
  /** Written one after the other, with a pause after each. */
  readonly writes: readonly string[]
  readonly pauseMs?: number
  /** Statuses that are right; of several answers the first counts. 0: closed without an answer. */
  readonly statuses: readonly number[]
}

export interface AttackFault {
  readonly attack: string
  readonly fault: string
}

const head = (line: string, ...headers: readonly string[]): string =>
  [`${line} HTTP/1.1`, 'host: localhost', 'connection: close', ...headers, '', ''].join('\r\n')

const get = (path: string): string => head(`GET ${path}`)

const paths = [
  '/../../etc/passwd',
  '/v1/items/../admin/config',
  '/v1//items',
  '/dashboard/../../package.json',
  '/dashboard/%2e%2e/%2e%2e/package.json',
  '/dashboard/..%2f..%2fpackage.json',
  '/dashboard/%00',
  '/docs/../../package.json',
  '/v1/items;/../admin/jobs',
  '/V1/ADMIN/CONFIG',
  '/v1/admin/config/',
  '/v1/admin/config%20',
  '/v1/admin%2fconfig',
  '/%',
  '/v1/items/%ff%fe',
  `/v1/items/${'a'.repeat(2_000)}`,
  'http://elsewhere/v1/admin/config',
]

/** `limitMs`: how long the service gives a request to come. */
export const attacks = (key: string, limitMs: number): readonly Attack[] => [
  ...paths.map((path) => ({
    name: `path ${path.slice(0, 60)}`,
    writes: [get(path)],
    statuses: [400, 401, 403, 404, 405],
  })),
  {
    name: 'a flood of headers',
    writes: [head('GET /v1/items', ...Array.from({ length: 1_500 }, (_, i) => `x-${i}: ${i}`))],
    statuses: [431, 401],
  },
  {
    name: 'a header that is too long',
    writes: [head('GET /v1/items', `x-long: ${'a'.repeat(100_000)}`)],
    statuses: [431],
  },
  { name: 'no HTTP', writes: ['\u0000\u0001\u0002 hello\r\n\r\n'], statuses: [400] },
  { name: 'a request of TLS', writes: ['\u0016\u0003\u0001\u0002\u0000\u0001'], statuses: [400] },
  {
    name: 'two lengths',
    writes: [`${head('POST /v1/events', 'content-length: 2', 'content-length: 3')}{}`],
    statuses: [400],
  },
  {
    name: 'a length and chunks',
    writes: [
      `${head('POST /v1/events', 'content-length: 2', 'transfer-encoding: chunked')}0\r\n\r\n`,
    ],
    statuses: [400],
  },
  {
    name: 'a negative length',
    writes: [`${head('POST /v1/events', 'content-length: -1')}{}`],
    statuses: [400],
  },
  {
    name: 'chunks that are none',
    writes: [`${head('POST /v1/events', 'transfer-encoding: chunked', `x-api-key: ${key}`)}zz\r\n`],
    statuses: [400, 415],
  },
  {
    name: 'a length that is never kept',
    writes: [withBody(key, 1_000_000, '{')],
    statuses: [400, 408],
  },
  {
    name: 'a length beyond all limits',
    writes: [withBody(key, 1e15, '{}')],
    statuses: [400, 408, 413],
  },
  {
    name: 'headers that come slowly',
    writes: [
      'GET /v1/items HTTP/1.1\r\n',
      ...Array.from({ length: 200 }, (_, i) => `x-${i}: 1\r\n`),
    ],
    pauseMs: limitMs / 20,
    statuses: [408, 0],
  },
  {
    name: 'a body that comes slowly',
    writes: [withBody(key, 1_000, '['), ...Array.from({ length: 200 }, () => ' ')],
    pauseMs: limitMs / 20,
    statuses: [408, 400, 0],
  },
  {
    name: 'many requests at once on a connection',
    writes: [
      `${'GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(500)}${get('/health/live')}`,
    ],
    statuses: [200],
  },
]

function withBody(key: string, length: number, body: string): string {
  const headers = [
    'content-type: application/json',
    `content-length: ${length}`,
    `x-api-key: ${key}`,
  ]
  return head('POST /v1/events', ...headers) + body
}

/** All at the same time. */
export async function runAttacks(
  address: string,
  list: readonly Attack[],
  limitMs: number,
): Promise<readonly AttackFault[]> {
  const found = await Promise.all(
    list.map(async (attack) => {
      const fault = await faultOf(address, attack, limitMs)
      return fault === undefined ? [] : [{ attack: attack.name, fault }]
    }),
  )
  return found.flat()
}

async function faultOf(address: string, attack: Attack, limitMs: number) {
  const text = await exchange(address, attack, limitMs)
  if (text === undefined) return `still open after ${limitMs} ms`
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0)
  if (!attack.statuses.includes(status)) return `status ${status}: ${text.slice(0, 300)}`
  if (status < 400) return undefined
  const body = text.slice(text.indexOf('\r\n\r\n') + 4)
  return /^\{"error":\{"code":"[A-Z_]+","message":/.test(body) ? undefined : `form: ${body}`
}

/** All that came until the connection closed; undefined: it did not within the limit. */
function exchange(
  address: string,
  { writes, pauseMs = 0 }: Attack,
  limitMs: number,
): Promise<string | undefined> {
  const { hostname, port } = new URL(address)
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname)
    let received = ''
    const left = [...writes]
    const write = (): void => {
      const next = left.shift()
      if (next === undefined || socket.destroyed) return
      socket.write(next, 'latin1')
      if (left.length > 0) pauses.push(setTimeout(write, pauseMs))
    }
    const pauses: NodeJS.Timeout[] = []
    const late = setTimeout(() => end(undefined), limitMs)
    const end = (text: string | undefined): void => {
      clearTimeout(late)
      for (const pause of pauses) clearTimeout(pause)
      socket.destroy()
      resolve(text)
    }
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => (received += chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => end(received))
    socket.on('connect', write)
  })
}
