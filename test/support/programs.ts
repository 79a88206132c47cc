/** Programs on the path. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { env } from 'node:process'

/** The path of the first of `names` that any folder of the path holds. */
export const programOnPath = (...names: readonly string[]): string | undefined =>
  (env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((path) => existsSync(path))
