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
  const [first, second] = [plainOffset(a), plainOffset(b)]
  // Asked for several times an event: nearly all have one event in a message.
  if (first >= 0 && second >= 0) return first - second
  return compareParsed(parsePlace(a) ?? nowhere, parsePlace(b) ?? nowhere)
}

const compareParsed = (a: KafkaPlace, b: KafkaPlace): number =>
  a.offset - b.offset || a.index - b.index

const [zero, nine, colon] = [0x30, 0x39, 0x3a]

/** Of `partition:offset` alone; -1: it is something else. */
function plainOffset(text: string): number {
  let offset = 0
  let [colons, digits] = [0, 0]
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i)
    if (unit >= zero && unit <= nine) {
      offset = offset * 10 + (unit - zero)
      digits += 1
    } else if (unit === colon && colons === 0 && digits > 0) {
      colons += 1
      offset = 0
      digits = 0
    } else return -1
  }
  return colons === 1 && digits > 0 ? offset : -1
}
