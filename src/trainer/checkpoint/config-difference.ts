/** Which fields of two configurations differ, named by their path: "tables.0.dim". */
import type { Json } from '../../stream/event.ts'

/** Paths in the order of `a`, then those that only `b` has. Equal configurations give none. */
export function differingFields(a: Json, b: Json, path = ''): readonly string[] {
  if (isBranch(a) && isBranch(b) && Array.isArray(a) === Array.isArray(b)) {
    const [left, right] = [new Map(Object.entries(a)), new Map(Object.entries(b))]
    const names = new Set([...left.keys(), ...right.keys()])
    return [...names].flatMap((name) =>
      differingFields(
        left.get(name) ?? null,
        right.get(name) ?? null,
        path === '' ? name : `${path}.${name}`,
      ),
    )
  }
  return Object.is(a, b) ? [] : [path]
}

const isBranch = (value: Json): value is readonly Json[] | { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null
