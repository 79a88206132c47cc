/** Lists of items that can be clicked. */
import { element } from './dom.js'

/**
 * @typedef {{ id: string, score?: number, attributes?: Record<string, unknown> | undefined, features?: Record<string, unknown> | undefined, explanation?: any, note?: string }} ShownItem
 */

/** @param {ShownItem} item */
export function titleOf({ id, attributes = {}, features = {} }) {
  const title = attributes['title'] ?? features['title']
  return typeof title === 'string' && title !== '' ? title : id
}

/**
 * @param {HTMLElement} list
 * @param {readonly ShownItem[]} items
 * @param {{ onPick: (item: ShownItem) => void, before?: Set<string>, hint: string, none: string }} options
 *   `before`: ids that were there before; others are marked as new
 */
export function showItems(list, items, { onPick, before, hint, none }) {
  const entries = items.map((item) => {
    const isNew = before !== undefined && !before.has(item.id)
    const title = titleOf(item)
    const button = element(
      'button',
      { type: 'button', title: hint, class: isNew ? 'new' : undefined, 'data-id': item.id },
      element('span', {}, title),
      element('span', { class: 'score' }, item.score === undefined ? '' : item.score.toFixed(2)),
    )
    const note = item.note ?? (title === item.id ? '' : item.id)
    if (note !== '') button.append(element('small', {}, note))
    if (item.explanation !== undefined) button.append(whyOf(item.explanation))
    button.addEventListener('click', () => onPick(item))
    return element('li', {}, button)
  })
  list.replaceChildren(...(entries.length === 0 ? [element('li', {}, none)] : entries))
}

/** @param {any} explanation */
function whyOf({ towers, popularity, vectorVersion, source, nearestHistory }) {
  const near = nearestHistory
    .map(
      (/** @type {{id: string, similarity: number}} */ one) =>
        `${one.id} ${one.similarity.toFixed(2)}`,
    )
    .join(', ')
  const parts = [
    `towers ${towers.toFixed(2)}, popularity ${popularity.toFixed(2)}`,
    `vector of step ${vectorVersion}, by ${source}`,
    ...(near === '' ? [] : [`near to ${near}`]),
  ]
  return element('small', { class: 'why' }, parts.join(' · '))
}
