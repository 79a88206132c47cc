/** JSON Schema for a person: its fields as a list, and a small example. */
import { element } from './dom.js'

/**
 * @typedef {{ $ref?: string, type?: string, const?: unknown, enum?: unknown[], anyOf?: Schema[],
 *   oneOf?: Schema[], properties?: Record<string, Schema>, required?: string[],
 *   additionalProperties?: Schema | boolean, items?: Schema, description?: string,
 *   default?: unknown, minimum?: number, maximum?: number, minLength?: number,
 *   maxLength?: number, minItems?: number, maxItems?: number, pattern?: string }} Schema
 */

/** Deeper fields are not shown: a document may be endless. */
const deepest = 6

/**
 * @param {Schema} schema
 * @param {Record<string, Schema>} schemas
 * @returns {Schema}
 */
function resolved(schema, schemas) {
  const name = schema.$ref?.split('/').at(-1)
  return name === undefined ? schema : (schemas[name] ?? {})
}

/**
 * @param {number | undefined} from
 * @param {number | undefined} to
 * @param {string} of
 */
const range = (from, to, of) =>
  from === undefined && to === undefined ? '' : `${from ?? ''}..${to ?? ''}${of}`

/** @param {Schema} schema */
const limitsOf = ({ minimum, maximum, minLength, maxLength, minItems, maxItems }) =>
  [
    range(minimum, maximum, ''),
    range(minLength, maxLength, ' characters'),
    range(minItems, maxItems, ' of them'),
  ]
    .filter((text) => text !== '')
    .join(', ')

/**
 * @param {Schema} schema
 * @param {Record<string, Schema>} schemas
 * @returns {string}
 */
function typeOf(schema, schemas) {
  const one = resolved(schema, schemas)
  if (one.const !== undefined) return JSON.stringify(one.const)
  if (one.enum !== undefined) return one.enum.map((value) => JSON.stringify(value)).join(' | ')
  const choices = one.anyOf ?? one.oneOf
  if (choices !== undefined) {
    return [...new Set(choices.map((choice) => typeOf(choice, schemas)))].join(' or ')
  }
  if (one.type === 'array') return `list of ${typeOf(one.items ?? {}, schemas)}`
  return one.type ?? 'any'
}

/**
 * @param {Schema} schema
 * @param {Record<string, Schema>} schemas
 * @returns {HTMLElement}
 */
export function fieldsOf(schema, schemas, depth = 0) {
  const list = element('ul', { class: 'fields' })
  if (depth > deepest) return list
  const one = resolved(schema, schemas)
  const choices = choicesOf(one)
  for (const [name, field] of Object.entries(one.properties ?? {})) {
    list.append(
      fieldView(name, field, { schemas, depth, isRequired: one.required?.includes(name) }),
    )
  }
  if (typeof one.additionalProperties === 'object') {
    list.append(fieldView('any name', one.additionalProperties, { schemas, depth }))
  }
  if (one.items !== undefined) list.append(...fieldsOf(one.items, schemas, depth + 1).children)
  const told = choices.some((choice) => hasFields(choice, schemas)) ? choices : []
  for (const choice of told) list.append(choiceView(choice, schemas, depth))
  if (list.childElementCount === 0) list.append(element('li', {}, typeOf(one, schemas)))
  return list
}

/**
 * @param {Schema} choice
 * @param {Record<string, Schema>} schemas
 * @param {number} depth
 */
function choiceView(choice, schemas, depth) {
  const inner = hasFields(choice, schemas) ? [fieldsOf(choice, schemas, depth + 1)] : []
  return element(
    'li',
    {},
    element('span', { class: 'quiet' }, `either ${typeOf(choice, schemas)}`),
    ...inner,
  )
}

/**
 * Whether there is more to say of it than its type.
 *
 * @param {Schema} schema
 * @param {Record<string, Schema>} schemas
 * @returns {boolean}
 */
function hasFields(schema, schemas, depth = 0) {
  if (depth > deepest) return false
  const { properties, items, anyOf, oneOf, additionalProperties } = resolved(schema, schemas)
  if (properties !== undefined || typeof additionalProperties === 'object') return true
  const inner = [...(anyOf ?? oneOf ?? []), ...(items === undefined ? [] : [items])]
  return inner.some((one) => hasFields(one, schemas, depth + 1))
}

/**
 * @param {string} name
 * @param {Schema} field
 * @param {{ schemas: Record<string, Schema>, depth: number, isRequired?: boolean | undefined }} of
 */
function fieldView(name, field, { schemas, depth, isRequired = false }) {
  const one = resolved(field, schemas)
  const about = [
    typeOf(field, schemas),
    limitsOf(one),
    isRequired ? 'required' : '',
    one.default === undefined ? '' : `default ${JSON.stringify(one.default)}`,
    one.description ?? '',
  ].filter((text) => text !== '')
  const item = element('li', {}, element('code', {}, name), ' ')
  item.append(element('span', { class: 'quiet' }, about.join('; ')))
  const isDeep = hasFields(one, schemas) && depth < deepest
  if (isDeep) item.append(fieldsOf(one, schemas, depth + 1))
  return item
}

/** @param {Schema} schema @returns {unknown} */
const knownOf = (schema) => schema.const ?? schema.enum?.[0] ?? schema.default

/** @param {Schema} schema */
const choicesOf = ({ anyOf, oneOf }) => anyOf ?? oneOf ?? []

/**
 * What must be there, and nothing else.
 *
 * @param {Schema} schema
 * @param {Record<string, Schema>} schemas
 * @returns {unknown}
 */
export function exampleOf(schema, schemas, depth = 0) {
  const one = resolved(schema, schemas)
  const known = knownOf(one)
  if (known !== undefined) return known
  const [choice] = choicesOf(one)
  if (choice !== undefined && depth < deepest) return exampleOf(choice, schemas, depth)
  if (one.type === 'object') return exampleObject(one, schemas, depth)
  if (one.type === 'array') {
    return depth < deepest ? [exampleOf(one.items ?? {}, schemas, depth + 1)] : []
  }
  if (one.type === 'integer' || one.type === 'number') return one.minimum ?? 0
  return one.type === 'boolean' ? false : '…'
}

/**
 * @param {Schema} schema
 * @param {Record<string, Schema>} schemas
 * @param {number} depth
 */
function exampleObject({ properties = {}, required = [] }, schemas, depth) {
  const fields = Object.entries(properties).filter(([name]) => required.includes(name))
  return Object.fromEntries(
    fields.map(([name, field]) => [name, exampleOf(field, schemas, depth + 1)]),
  )
}
