/**
 * tfjs-node 4.22 calls `util.isNullOrUndefined`, which Node has had no more since version 23, and
 * `util.isArray`, which has gone with it or warns of its end. Both are put back before it is
 * loaded, and nothing else is.
 */
import { createRequire } from 'node:module'

const gap = {
  isNullOrUndefined: (value: unknown): boolean => value === null || value === undefined,
  isArray: Array.isArray,
}

export function bridgeNodeGap(): void {
  // The object that a `require` gives, which can be added to, unlike an ES namespace.
  const util: unknown = createRequire(import.meta.url)('node:util')
  for (const [name, value] of Object.entries(gap)) {
    Object.defineProperty(util, name, { value, configurable: true, writable: true })
  }
}
