/** Of the hash FNV-1a (Fowler, Noll, Vo), 32 bits: from the basis, mixed in and multiplied. */
export const fnvBasis = 0x811c9dc5
export const fnvPrime = 0x01000193
