/** The service's API, asked with the key that the user has given, if one is needed. */

const storedAs = 'freshet-key'

/** An answer that is an error, with its code. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{code?: string, message?: string} | undefined} error
   */
  constructor(status, error) {
    super(error?.message ?? `the service answered ${status}`)
    this.status = status
    this.code = error?.code ?? 'UNKNOWN'
  }
}

/** @param {string} key */
export function useKey(key) {
  sessionStorage.setItem(storedAs, key)
}

/**
 * Sends what a person has typed, and gives the answer as text, indented.
 *
 * @param {string} method
 * @param {string} path
 * @param {string | undefined} body
 * @param {boolean} [plain] The answer's body alone, as it came; rejects for an error.
 */
export async function send(method, path, body, plain = false) {
  const key = sessionStorage.getItem(storedAs)
  const answer = await fetch(path, {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body }),
  })
  const text = await answer.text()
  if (plain && !answer.ok) throw new ApiError(answer.status, undefined)
  return plain ? text : `${answer.status} ${answer.statusText}\n${indented(text)}`
}

/** @param {string} text */
function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2)
  } catch {
    return text
  }
}

/**
 * @param {string} path
 * @param {unknown} [body]
 * @param {string} [method] POST for what has a body
 * @returns {Promise<any>}
 */
export async function ask(path, body, method = body === undefined ? 'GET' : 'POST') {
  const key = sessionStorage.getItem(storedAs)
  /** @type {Record<string, string>} */
  const headers = key === null ? {} : { authorization: `Bearer ${key}` }
  if (body !== undefined) headers['content-type'] = 'application/json'
  const answer = await fetch(path, {
    headers,
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const parsed = await answer.json().catch(() => undefined)
  if (answer.ok || parsed?.ready === false) return parsed
  throw new ApiError(answer.status, parsed?.error)
}
