/** Programmer errors stop the program here; operating errors are in `errors.ts`. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}

/** For a branch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}

/** The value, which must be there: `present(map.get(key), 'table')`. */
export function present<Value>(value: Value | undefined | null, what: string): Value {
  assert(value !== undefined && value !== null, `${what} is missing`)
  return value
}
