/** Building of elements: text is text, never HTML. */

/**
 * @param {string} tag
 * @param {Record<string, string | boolean | number | undefined>} attributes `class`, `title`, ...;
 *   undefined and false: absent
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, String(value))
  }
  made.append(...children)
  return made
}

/**
 * The element with this id.
 *
 * @template {Element} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const found = document.getElementById(id)
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} ${id}`)
  return found
}

/** The time of today, else the day too. @param {number} at Epoch ms. */
export function when(at) {
  const date = new Date(at)
  const isToday = date.toDateString() === new Date().toDateString()
  return isToday ? date.toLocaleTimeString() : date.toLocaleString()
}

/** @param {number} value */
export function short(value) {
  if (value >= 1e6) return `${scaled(value / 1e6)} M`
  if (value >= 1e4) return `${scaled(value / 1e3)} k`
  if (Number.isInteger(value) || value >= 10) return Math.round(value).toLocaleString('en')
  return value.toFixed(1)
}

/** With one decimal where it says something: 10, 10.5. @param {number} value */
const scaled = (value) => value.toLocaleString('en', { maximumFractionDigits: 1 })

/** Milliseconds, and seconds where they are many. @param {number} ms */
export function duration(ms) {
  if (ms >= 1e3) return `${scaled(ms / 1e3)} s`
  return `${ms < 1 ? scaled(ms) : Math.round(ms)} ms`
}

/** @param {number | undefined} value */
export const whole = (value) => (value === undefined ? '–' : Math.round(value).toLocaleString('en'))
