/** Parsers of flag values; a wrong one is said with what was expected. */
import { InvalidArgumentError } from 'commander'

/** A whole number in [min, max]. */
export const wholeNumber =
  (min: number, max = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text.replaceAll('_', ''))
    if (!/^\d[\d_]*$/.test(text) || value < min || value > max) {
      const upTo = max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`
      throw new InvalidArgumentError(`expected a whole number from ${min}${upTo}`)
    }
    return value
  }

/** A number in [min, max]. */
export const decimal =
  (min: number, max = Number.MAX_VALUE) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= min && value <= max)) {
      const upTo = max === Number.MAX_VALUE ? '' : ` to ${max}`
      throw new InvalidArgumentError(`expected a number from ${min}${upTo}`)
    }
    return value
  }

/** Whole numbers separated by commas. */
export const wholeNumbers = (text: string): readonly number[] => text.split(',').map(wholeNumber(1))

/** `redis://host:port/database` of one server, with user and password if need be. */
export const redisUrl = (text: string): string => {
  if (/^rediss?:\/\/[^\s/]+(\/\d+)?$/.test(text) && URL.canParse(text)) return text
  throw new InvalidArgumentError('expected redis://host:port/database')
}

/** One of a few words. */
export const oneOf =
  <Word extends string>(...words: readonly Word[]) =>
  (text: string): Word => {
    const found = words.find((word) => word === text)
    if (found === undefined) throw new InvalidArgumentError(`expected ${words.join(' | ')}`)
    return found
  }

/** Some of a few words, separated by commas. */
export const someOf =
  <Word extends string>(...words: readonly Word[]) =>
  (text: string): readonly Word[] =>
    text.split(',').map(oneOf(...words))
