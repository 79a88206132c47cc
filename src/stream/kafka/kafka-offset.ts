/**
 * Offsets of a Kafka log as text: `partition:offset` for the first or only event of a message,
 * `partition:offset.index` for the event that its `index`-th value is. An offset alone tells which
 * partition it is of; where the partition is known, `offset` by itself is understood too.
 */
export interface KafkaPlace {
  /** Of the message, as the broker counts. */
  readonly offset: number
  /** Among the values of the message, from 0. */
  readonly index: number
}

export function placeText(partition: number, { offset, index }: KafkaPlace): string {
  return index === 0 ? `${partition}:${offset}` : `${partition}:${offset}.${index}`
}

const pattern = /^(?:\d+:)?(\d+)(?:\.(\d+))?$/

/** Undefined: it is no offset. */
export function parsePlace(text: string): KafkaPlace | undefined {
  const found = pattern.exec(text)
  if (found === null) return undefined
  return { offset: Number(found[1]), index: Number(found[2] ?? 0) }
}

const nowhere: KafkaPlace = { offset: -1, index: 0 }

/** Orders two offsets of one partition; what is none comes before all. */
export function comparePlaces(a: string, b: string): number {
  const [first, second] = [parsePlace(a) ?? nowhere, parsePlace(b) ?? nowhere]
  return first.offset - second.offset || first.index - second.index
}
