/** Every operation of an OpenAPI document, and requests to it: right ones, spoiled ones, junk. */
import fc from 'fast-check'

import { nasty, type Schema, type Schemas, spoiled, valid } from './json-arbitraries.ts'

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly required?: boolean
  readonly schema: Schema
}

interface Media {
  readonly schema?: Schema
}

interface OperationObject {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> }
  readonly security?: readonly { readonly apiKey: readonly string[] }[]
  readonly responses?: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, Media>> }>
  >
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>
  readonly components: { readonly schemas: Schemas }
}

export interface Operation {
  readonly method: string
  /** `/v1/items/{id}`. */
  readonly path: string
  /** The scope that it needs; absent: none. */
  readonly scope: string | undefined
  readonly parameters: readonly Parameter[]
  readonly body: Schema | undefined
  /** Of its answers, by status. */
  readonly answers: Readonly<Record<string, Schema>>
}

/** How a request was made: what is right must not be refused for its form. */
type Kind = 'right' | 'spoiled' | 'junk'

export interface FuzzRequest {
  readonly operation: Operation
  readonly kind: Kind
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
}

export function operationsOf({ paths }: Document): readonly Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      scope: operation.security?.[0]?.apiKey[0],
      parameters: operation.parameters ?? [],
      body: operation.requestBody?.content['application/json']?.schema,
      answers: Object.fromEntries(
        Object.entries(operation.responses ?? {}).flatMap(([status, { content }]) => {
          const schema = content?.['application/json']?.schema
          return schema === undefined ? [] : [[status, schema]]
        }),
      ),
    })),
  )
}

export interface FuzzWorld {
  readonly schemas: Schemas
  /** Ids and names that mean something to the service. */
  readonly known: readonly string[]
  /** By scope; a request mostly has the right one. */
  readonly keys: Readonly<Record<string, string>>
}

export const requestsTo = (
  operations: readonly Operation[],
  world: FuzzWorld,
): fc.Arbitrary<FuzzRequest> =>
  fc.oneof(...operations.map((operation) => requestTo(operation, world)))

function requestTo(operation: Operation, world: FuzzWorld): fc.Arbitrary<FuzzRequest> {
  const kind = fc.constantFrom<Kind[]>('right', 'right', 'spoiled', 'junk')
  return kind.chain((drawn) =>
    fc
      .tuple(
        pathOf(operation, world, drawn),
        headersOf(operation, world),
        bodyOf(operation, world, drawn),
      )
      .map(([path, headers, body]) => ({
        operation,
        kind: drawn,
        method: operation.method,
        path,
        headers: {
          ...headers,
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', ...contentOf(headers) }),
        },
        body,
      })),
  )
}

const contentOf = ({ 'content-type': type }: Readonly<Record<string, string>>) =>
  type === undefined ? {} : { 'content-type': type }

function pathOf(
  { path, parameters }: Operation,
  { known, schemas }: FuzzWorld,
  kind: Kind,
): fc.Arbitrary<string> {
  const values = parameters.map(({ name, required = false, in: where, schema }) => {
    const right = valid(schema, known, schemas)
    const value = kind === 'right' ? right : fc.oneof(right, nasty)
    const needed = where === 'path' || (required && kind === 'right')
    return (needed ? value : fc.option(value, { nil: undefined })).map((given) => ({
      name,
      where,
      given,
    }))
  })
  const extra = kind === 'junk' ? fc.string({ maxLength: 30 }) : fc.constant('')
  return fc.tuple(fc.tuple(...values), extra).map(([given, junk]) => {
    const filled = given
      .filter(({ where }) => where === 'path')
      .reduce((url, one) => url.replace(`{${one.name}}`, encoded(one.given) || '%20'), path)
    const query = given
      .filter((one) => one.where === 'query' && one.given !== undefined)
      .flatMap((one) => [one.given].flat().map((value) => `${one.name}=${encoded(value)}`))
    const all = [...query, ...(junk === '' ? [] : [encoded(junk)])]
    return all.length === 0 ? filled : `${filled}?${all.join('&')}`
  })
}

/** Of a text that is none, as it would come: percent-encoded, whatever it stands for. */
const encoded = (value: unknown): string =>
  encodeURIComponent((typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed())

const junkKeys = ['', 'x', 'Bearer', 'null', '0'.repeat(300), "' or 1=1"]

function headersOf(
  { scope }: Operation,
  { keys }: FuzzWorld,
): fc.Arbitrary<Readonly<Record<string, string>>> {
  const right = keys[scope ?? 'read'] ?? ''
  const key = fc.oneof(
    { weight: 8, arbitrary: fc.constant(right) },
    { weight: 1, arbitrary: fc.constantFrom(...Object.values(keys)) },
    { weight: 1, arbitrary: fc.constantFrom(...junkKeys) },
  )
  const word = fc.stringMatching(/^[\x21-\x7e]{1,40}$/)
  const others = fc.record(
    {
      'idempotency-key': word,
      'x-request-id': word,
      'content-type': fc.constantFrom(
        'text/plain',
        'application/json; charset=utf-8',
        'application/x-ndjson',
        'multipart/form-data',
      ),
      accept: fc.constantFrom('text/html', '*/*', 'application/xml'),
    },
    { requiredKeys: [] },
  )
  const rare = fc.oneof(
    { weight: 4, arbitrary: fc.constant<Readonly<Record<string, string>>>({}) },
    { weight: 1, arbitrary: others },
  )
  const keyHeader = fc
    .tuple(key, fc.boolean())
    .map(([drawn, asBearer]): Readonly<Record<string, string>> =>
      asBearer ? { authorization: `Bearer ${drawn}` } : { 'x-api-key': drawn },
    )
  return fc.tuple(keyHeader, rare).map((all) => Object.assign({}, ...all))
}

const brokenBodies = [
  '',
  '{',
  'nul',
  '[1,',
  '{"a":1}{"b":2}',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"\\u005f_proto__":{"polluted":true}}',
  '['.repeat(40) + ']'.repeat(40),
  '['.repeat(50_000),
  '{"a":'.repeat(5_000),
  '\ufeff{}',
  '"\\ud800"',
  `[${'0,'.repeat(20_000)}0]`,
]

function bodyOf(
  { body, method }: Operation,
  { known, schemas }: FuzzWorld,
  kind: Kind,
): fc.Arbitrary<string | undefined> {
  const sendsNone = method === 'GET' || (method === 'DELETE' && kind === 'right')
  if (body === undefined) {
    if (sendsNone || kind === 'right') return fc.constant(undefined)
    return fc.constantFrom(undefined, '{}', 'x')
  }
  const right = valid(body, known, schemas)
  if (kind === 'right') return right.map((value) => JSON.stringify(value))
  if (kind === 'spoiled') return spoiled(right).map((value) => JSON.stringify(value) ?? '')
  return fc.oneof(
    fc.constantFrom(...brokenBodies),
    fc.json({ maxDepth: 6 }),
    fc.string({ maxLength: 200 }),
    right.map((value) => JSON.stringify(value).slice(0, -1)),
  )
}
