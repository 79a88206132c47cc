/** The order in which items are answered: by score, ties by smaller id. */

/** Of each place, best first, which of these it is. */
export const ranksOf = (ids: Int32Array, scores: Float32Array): Int32Array =>
  Int32Array.from(ids, (_, i) => i).toSorted((a, b) => scores[b] - scores[a] || ids[a] - ids[b])
