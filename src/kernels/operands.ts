/**
 * How a kernel is called: numbers only, so that a call is the same from WebAssembly's side, from
 * the reference twins' and over the thread pool. Tuples name the operands; an editor shows them.
 */

/** A byte offset in the arena's memory, a multiple of 4. `absent` (0) is no block's address. */
export type Address = number

/** Stands for an operand that is not there, where a kernel allows it. */
export const absent: Address = 0

/** 0 or 1: overwrite the output, or go on from what it holds. */
export type Flag = 0 | 1

/** A kernel called once, whole. */
export type Whole<Operands extends readonly number[], Result = void> = (
  ...operands: Operands
) => Result

/**
 * A kernel that computes the part [from, to) of its output: rows, columns or elements, as each one
 * says. The bits of a part do not depend on how the whole was split. (`split` is for the types
 * alone: it tells these kernels from the whole ones.)
 */
export type Split<Operands extends readonly number[]> = {
  (...operands: [...Operands, from: number, to: number]): void
  readonly split?: true
}

/** The operands of a split kernel without its range. */
export type OperandsOf<Kernel> = Kernel extends Split<infer Operands> ? Operands : never
