/**
 * What became of values that are no events: each is written to a topic or a file of its own with
 * the reason and its place, and the stream goes on. Written before the events after it are handed
 * out; after a restart that reads it again, a second time: the place identifies it. A letter that
 * cannot be delivered is reported and counted, and the value itself is still in the topic.
 */
import { appendFile } from 'node:fs/promises'

import { placeText } from './kafka-offset.ts'
import type { PoisonedValue } from './kafka-partition.ts'
import type { ProducedMessage } from './kafka-produce.ts'

export interface DeadLetter {
  readonly topic: string
  readonly partition: number
  /** Of the message, as the broker counts. */
  readonly offset: string
  /** Of the value in the message, from 0; absent: the message as a whole. */
  readonly index?: number
  readonly code: string
  /** Dotted path of the field. */
  readonly path: string
  readonly reason: string
}

export interface DeadLetters {
  /** Resolves when they are delivered, or when nobody takes them. Never rejects. */
  write(poison: readonly PoisonedValue[]): Promise<void>
}

interface DeadLetterOptions {
  readonly topic: string
  /** Puts letters where they stay. */
  readonly deliver: (letters: readonly AddressedLetter[]) => Promise<void>
  readonly onLost: (letters: readonly DeadLetter[], error: unknown) => void
}

interface AddressedLetter {
  readonly letter: DeadLetter
  readonly poison: PoisonedValue
}

/** Of a reader that only counts them: another one keeps them. */
export const noDeadLetters: DeadLetters = { write: () => Promise.resolve() }

export function deadLetters({ topic, deliver, onLost }: DeadLetterOptions): DeadLetters {
  /** By partition: the place up to which letters have been written in this life. */
  const written = new Map<number, readonly [offset: number, index: number]>()
  const isNew = ({ partition, message, index = -1 }: PoisonedValue): boolean => {
    const offset = Number(message.offset)
    const [lastOffset, lastIndex] = written.get(partition) ?? [-1, -1]
    if (offset < lastOffset || (offset === lastOffset && index <= lastIndex)) return false
    written.set(partition, [offset, index])
    return true
  }
  return {
    async write(found) {
      const letters = found.filter(isNew).map((poison) => ({
        poison,
        letter: letterOf(topic, poison),
      }))
      if (letters.length === 0) return
      try {
        await deliver(letters)
      } catch (error) {
        onLost(
          letters.map(({ letter }) => letter),
          error,
        )
      }
    },
  }
}

function letterOf(
  topic: string,
  { partition, message, index, rejection }: PoisonedValue,
): DeadLetter {
  const { code, path, message: reason } = rejection
  return {
    topic,
    partition,
    offset: String(message.offset),
    ...(index !== undefined && { index }),
    code,
    path,
    reason,
  }
}

/** A line of JSON each: the letter, and the message's key and value as base64. */
export const toFile =
  (path: string) =>
  (letters: readonly AddressedLetter[]): Promise<void> => {
    const lines = letters.map(({ letter, poison: { message } }) => {
      const bytes = { key: base64(message.key), value: base64(message.value) }
      return `${JSON.stringify({ ...letter, timestamp: Number(message.timestamp), ...bytes })}\n`
    })
    return appendFile(path, lines.join(''))
  }

const base64 = (bytes: Buffer | null): string | null => bytes?.toString('base64') ?? null

/**
 * The message as it was, so that it can be sent again once what was wrong is mended; the letter is
 * in its headers.
 */
export function deadMessage({
  letter,
  poison: { partition, message },
}: AddressedLetter): ProducedMessage {
  const { code, path, reason, topic, index } = letter
  const offset = Number(letter.offset)
  return {
    key: message.key,
    value: message.value ?? Buffer.alloc(0),
    timestamp: String(Math.max(0, Number(message.timestamp))),
    headers: {
      'freshet-topic': topic,
      'freshet-offset': placeText(partition, { offset, index: index ?? 0 }),
      ...(index !== undefined && { 'freshet-index': String(index) }),
      'freshet-code': code,
      'freshet-path': path,
      'freshet-reason': reason,
    },
  }
}
