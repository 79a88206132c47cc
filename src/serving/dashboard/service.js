/** The service, asked as programs ask it, by `freshet/client`, with the key that the user gave. */
import { FreshetAdmin, FreshetClient } from '../../client/freshet-client.js'

export { FreshetError } from '../../client/freshet-client.js'

const storedAs = 'freshet-key'

/** @param {string} key */
export function useKey(key) {
  sessionStorage.setItem(storedAs, key)
}

/** undefined: none has been given. */
export const keyInUse = () => sessionStorage.getItem(storedAs) ?? undefined

/** The page asks again by itself, or says what went wrong: nothing is repeated behind its back. */
function options() {
  const apiKey = keyInUse()
  const baseUrl = location.origin
  return apiKey === undefined ? { baseUrl, retries: 0 } : { baseUrl, retries: 0, apiKey }
}

export const client = () => new FreshetClient(options())

export const admin = () => new FreshetAdmin(options())
