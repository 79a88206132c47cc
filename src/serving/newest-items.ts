/** The items that came last: a scan of when each came, with the best so far in order. */
import type { Bitmap, SearchResult } from '../ann/ann-index.ts'
import type { Catalogue } from '../stream/facts/catalogue.ts'

/**
 * Those of `allow`, the newest first; unused places hold -1. A score says how many items have come
 * since, negative: small numbers, which 32 bits hold exactly.
 */
export function newestItems(catalogue: Catalogue, k: number, allow: Bitmap): SearchResult {
  const ids = new Int32Array(k).fill(-1)
  const births = new Float64Array(k)
  for (let word = 0; word < allow.length; word += 1) {
    for (let bits = allow[word]; bits !== 0; bits &= bits - 1) {
      const handle = (word << 5) + (31 - Math.clz32(bits & -bits))
      const birth = catalogue.birth(handle)
      if (birth > births[k - 1]) insert({ ids, births }, handle, birth)
    }
  }
  const scores = Float32Array.from(births, (birth) =>
    birth === 0 ? -Infinity : birth - catalogue.born,
  )
  return { ids, scores }
}

/** Both in descending order of births, the last of which falls out. */
function insert(
  { ids, births }: { readonly ids: Int32Array; readonly births: Float64Array },
  handle: number,
  birth: number,
): void {
  let at = ids.length - 1
  for (; at > 0 && births[at - 1] < birth; at -= 1) {
    births[at] = births[at - 1]
    ids[at] = ids[at - 1]
  }
  births[at] = birth
  ids[at] = handle
}
