/**
 * The log of the process: pino, one JSON object per line on stderr, so that stdout stays the
 * command's result. With `redactIds` no user or item id leaves the process this way.
 */
import { destination, type Logger, pino } from 'pino'

import type { ProcessConfig } from './config/config-process-schema.ts'

export type { Logger }

/** Where ids stand in what the rooms log. */
const idFields = ['userId', 'itemId', 'itemIds', 'userIds']
const idPaths = [...idFields, ...idFields.flatMap((name) => [`details.${name}`, `event.${name}`])]

/** Never shown, whatever the options say. */
const secretPaths = ['authorization', 'headers.authorization', 'apiKey', 'headers["x-api-key"]']

/**
 * `write` is for tests; a process writes to stderr, synchronously, so that last words are heard.
 */
export function createLogger(
  { level, redactIds }: ProcessConfig['logging'],
  write?: (line: string) => void,
): Logger {
  const paths = redactIds ? [...secretPaths, ...idPaths] : secretPaths
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths, censor: '[redacted]' },
    },
    write === undefined ? destination({ fd: 2, sync: true }) : { write },
  )
}
