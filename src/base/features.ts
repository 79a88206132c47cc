/** A value that a model can encode; lists are categories (strings) or a dense vector (numbers). */
export type FeatureValue = string | number | readonly string[] | readonly number[]

/** Named values of a user, an item or a request. */
export type Features = Readonly<Record<string, FeatureValue>>

export const noFeatures: Features = Object.freeze({})
