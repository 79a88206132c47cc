/** The API's documentation, made from the document that the service itself serves. */
import { byId, element } from './dom.js'
import { exampleOf, fieldsOf } from './schema.js'
import { keyInUse, useKey } from './service.js'

/** @typedef {import('./schema.js').Schema} Schema */
/** @typedef {{ name: string, in: string, required?: boolean, schema: Schema }} Parameter */
/** @typedef {{ summary?: string, tags?: string[], parameters?: Parameter[], requestBody?: any, security?: any[], responses?: Record<string, any> }} Operation */

const error = byId('error', HTMLElement)
const list = byId('operations', HTMLElement)

/**
 * @param {string} path
 * @param {string} method
 * @param {Operation} operation
 * @param {Record<string, Schema>} schemas
 */
function operationView(path, method, operation, schemas) {
  const body = operation.requestBody?.content?.['application/json']?.schema
  const scope = operation.security?.[0]?.apiKey?.[0]
  const view = element(
    'details',
    { class: 'operation', id: `${method}-${path.replaceAll(/\W+/g, '-')}` },
    element(
      'summary',
      {},
      element('span', { class: 'method' }, method.toUpperCase()),
      element('span', { class: 'path' }, path),
      element('span', { class: 'quiet' }, operation.summary ?? ''),
    ),
  )
  // Made when it is opened: the whole document at once is long.
  view.addEventListener(
    'toggle',
    () => {
      const inner = element('div', {})
      const needs = scope === undefined ? 'Open to all.' : `Needs a key with the scope ${scope}.`
      inner.append(element('p', { class: 'quiet' }, needs))
      inner.append(...parametersView(operation.parameters ?? [], schemas))
      if (body !== undefined) inner.append(heading('Body'), fieldsOf(body, schemas))
      inner.append(...answersView(operation.responses ?? {}, schemas))
      inner.append(asker(path, method, operation.parameters ?? [], { body, schemas }))
      view.append(inner)
    },
    { once: true },
  )
  return view
}

/**
 * @param {FormData} form
 * @param {string} name
 */
function typed(form, name) {
  const value = form.get(name)
  return typeof value === 'string' ? value : ''
}

const heading = (/** @type {string} */ text) => element('h3', {}, text)

/**
 * @param {Parameter[]} parameters
 * @param {Record<string, Schema>} schemas
 */
function parametersView(parameters, schemas) {
  if (parameters.length === 0) return []
  const properties = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]))
  const required = parameters.filter((one) => one.required === true).map(({ name }) => name)
  return [heading('Parameters'), fieldsOf({ type: 'object', properties, required }, schemas)]
}

/**
 * @param {Record<string, any>} responses
 * @param {Record<string, Schema>} schemas
 */
function answersView(responses, schemas) {
  return Object.entries(responses).flatMap(([status, { description, content }]) => {
    const schema = content?.['application/json']?.schema
    const title = status === 'default' ? 'An error' : `Answer ${status}`
    const about = element('p', { class: 'quiet' }, description ?? '')
    const fields = schema === undefined ? '' : fieldsOf(schema, schemas)
    return [heading(title), about, fields]
  })
}

/**
 * @param {string} path
 * @param {string} method
 * @param {Parameter[]} parameters
 * @param {{ body: Schema | undefined, schemas: Record<string, Schema> }} request
 */
function asker(path, method, parameters, { body, schemas }) {
  const fields = parameters.map(({ name, required }) => ({
    name,
    label: element(
      'label',
      {},
      `${name} `,
      element('input', { name, required: required === true, autocomplete: 'off' }),
    ),
  }))
  const text = element('textarea', { name: 'body', 'aria-label': 'body', spellcheck: 'false' })
  if (body !== undefined) text.append(JSON.stringify(exampleOf(body, schemas), undefined, 2))
  const output = element('pre', { role: 'status', hidden: true })
  const form = element(
    'form',
    { class: 'asker' },
    ...fields.map(({ label }) => label),
    ...(body === undefined ? [] : [element('div', { class: 'whole' }, text)]),
    element('button', {}, 'Send'),
  )
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    if (!(form instanceof HTMLFormElement)) return
    const given = new FormData(form)
    const url = urlOf(path, parameters, given)
    const sent = body === undefined ? undefined : typed(given, 'body')
    output.hidden = false
    output.textContent = '…'
    void send(method.toUpperCase(), url, sent).then(
      (answer) => (output.textContent = curlOf(method, url, sent) + answer),
      (cause) => (output.textContent = String(cause)),
    )
  })
  return element('div', {}, heading('Ask'), form, output)
}

/**
 * @param {string} path
 * @param {Parameter[]} parameters
 * @param {FormData} given
 */
function urlOf(path, parameters, given) {
  let url = path
  const query = new URLSearchParams()
  for (const { name, in: where } of parameters) {
    const value = typed(given, name)
    if (where === 'path') url = url.replace(`{${name}}`, encodeURIComponent(value))
    else if (value !== '') query.append(name, value)
  }
  return query.size === 0 ? url : `${url}?${query}`
}

/**
 * @param {string} method
 * @param {string} url
 * @param {string | undefined} body
 */
function curlOf(method, url, body) {
  const compact = body === undefined ? '' : ` --json '${body.replaceAll("'", String.raw`'\''`)}'`
  return `$ curl -s -X ${method.toUpperCase()} '${location.origin}${url}'${compact}\n\n`
}

/**
 * Sends what a person has typed, right or wrong, and gives the answer as it came, indented.
 *
 * @param {string} method
 * @param {string} path
 * @param {string | undefined} body
 */
async function send(method, path, body) {
  const key = keyInUse()
  const answer = await fetch(path, {
    method,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body }),
  })
  return `${answer.status} ${answer.statusText}\n${indented(await answer.text())}`
}

/** @param {string} text */
function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2)
  } catch {
    return text
  }
}

byId('key', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault()
  const form = byId('key', HTMLFormElement)
  useKey(typed(new FormData(form), 'key'))
  form.reset()
  byId('keyed', HTMLElement).textContent = 'in use'
})

const find = byId('find', HTMLInputElement)
find.addEventListener('input', () => {
  const wanted = find.value.toLowerCase()
  for (const view of list.querySelectorAll('details.operation')) {
    const summary = view.querySelector('summary')?.textContent ?? ''
    if (view instanceof HTMLElement) view.hidden = !summary.toLowerCase().includes(wanted)
  }
})

try {
  const answer = await fetch('/openapi.json')
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`)
  const described = await answer.json()
  /** @type {Map<string, HTMLElement[]>} */
  const byTag = new Map()
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? 'other'
      const view = operationView(path, method, operation, described.components.schemas)
      byTag.set(tag, [...(byTag.get(tag) ?? []), view])
    }
  }
  for (const [tag, views] of byTag) list.append(element('h2', {}, tag), ...views)
  const linked = document.getElementById(location.hash.slice(1))
  if (linked instanceof HTMLDetailsElement) linked.open = true
} catch (cause) {
  error.hidden = false
  error.textContent = cause instanceof Error ? cause.message : String(cause)
}
