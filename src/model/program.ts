/**
 * Programs for the `runPrograms` kernel: a tower's layers written once as instructions over rows,
 * whose number each batch sets.
 */
import type { Block } from '../kernels/arena.ts'
import type { Address } from '../kernels/operands.ts'
import type { ThreadPool } from '../kernels/thread-pool.ts'
import {
  floatOperand,
  instructionWords,
  operationCode,
  programWords,
  type Operation,
} from '../kernels/tower-kernels.ts'
import type { Allocator } from './dense-parameters.ts'

export interface Instruction {
  readonly operation: Operation
  /** Elements of the operation's range per row of the program. */
  readonly unit: number
  readonly operands: readonly number[]
  /**
   * The operand that is the number of examples, in an operation that ranges over something else.
   */
  readonly examples?: number
}

export interface Program {
  /** Absent: one per example. */
  readonly rows?: number
  readonly instructions: readonly Instruction[]
}

/** Rows that go through a whole program before the next: what they leave stays in the cache. */
const passRows = 256
/** Less work than this, in rows, is not worth waking threads for. */
const fewRows = 128

interface Place {
  readonly program: number
  readonly instruction: number
}

interface Drawing {
  readonly at: Place
  readonly salt: number
}

interface Counting {
  readonly at: Place
  readonly operand: number
}

/** Each layer of each tower has draws of its own. */
export const dropoutSalt = (layer: number, isFirst: boolean): number =>
  1 + 2 * layer + (isFirst ? 0 : 1)

/** As a u32 in an i32. */
export const dropoutSeed = (seed: number, salt: number): number =>
  Math.imul(seed, 0x85ebca6b) ^ Math.imul(salt, 0xc2b2ae35)

/** The same without anything dropped. */
export const inference = (instructions: readonly Instruction[]): readonly Instruction[] =>
  instructions.map((instruction) => {
    if (instruction.operation !== 'dropout') return instruction
    const [out, x] = instruction.operands
    return { ...instruction, operands: [out, x, 0, 0, 1] }
  })

/** Programs that run as one: the first instruction of one needs nothing of another. */
export class ProgramSet {
  readonly #programs: readonly Program[]
  readonly #headers: Block<Int32Array>
  readonly #instructions: readonly Block<Int32Array>[]
  readonly #examples: Int32Array
  /** Instructions that draw, and what makes their draws different from each other's. */
  readonly #drawing: readonly Drawing[]
  /** Instructions that are told the number of examples. */
  readonly #counting: readonly Counting[]
  #rows = 0

  constructor(allocator: Allocator, programs: readonly Program[]) {
    this.#programs = programs
    this.#headers = allocator.ints(programs.length * programWords)
    this.#instructions = programs.map(({ instructions }) =>
      allocator.ints(instructions.length * instructionWords),
    )
    this.#examples = new Int32Array(programs.length).fill(-1)
    for (const [i, program] of programs.entries()) this.#write(i, program)
    this.#drawing = programs.flatMap(({ instructions }, program) =>
      instructions.flatMap(({ operation, operands }, instruction) =>
        operation === 'dropout' ? [{ at: { program, instruction }, salt: operands[2] }] : [],
      ),
    )
    this.#counting = programs.flatMap(({ instructions }, program) =>
      instructions.flatMap(({ examples }, instruction) =>
        examples === undefined ? [] : [{ at: { program, instruction }, operand: examples }],
      ),
    )
  }

  /** What is drawn in the next run is of this seed. */
  setSeed(seed: number): void {
    for (const { at, salt } of this.#drawing) this.setOperand(at, 2, dropoutSeed(seed, salt))
  }

  /** The number of examples of program `index` in the next run. */
  setExamples(index: number, examples: number): void {
    if (this.#examples[index] === examples) return
    const program = this.#programs[index]
    this.#examples[index] = examples
    this.#headers.view[index * programWords] = program.rows ?? examples
    for (const { at, operand } of this.#counting) {
      if (at.program === index) this.setOperand(at, operand, examples)
    }
    this.#rows = 0
    for (let i = 0; i < this.#programs.length; i += 1) {
      this.#rows += this.#headers.view[i * programWords]
    }
  }

  setOperand(at: Place, operand: number, value: number): void {
    const words = this.#instructions[at.program].view
    words[at.instruction * instructionWords + 2 + operand] = value
  }

  run(pool: ThreadPool): void {
    this.begin(pool)()
  }

  /** Left to the workers until what is returned is called: see `ThreadPool.begin`. */
  begin(pool: ThreadPool): () => void {
    const operands: [programs: Address, count: number] = [
      this.#headers.address,
      this.#programs.length,
    ]
    return pool.begin('runPrograms', operands, this.#rows, this.#rows <= fewRows ? fewRows : 4)
  }

  #write(index: number, { rows = 0, instructions }: Program): void {
    const block = this.#instructions[index]
    const header = [rows, passRows, instructions.length, block.address]
    for (const [i, word] of header.entries()) this.#headers.view[index * programWords + i] = word
    const floats = new Float32Array(block.view.buffer, block.view.byteOffset, block.view.length)
    for (const [k, { operation, unit, operands }] of instructions.entries()) {
      const at = k * instructionWords
      block.view[at] = operationCode(operation)
      block.view[at + 1] = unit
      for (const [i, operand] of operands.entries()) {
        const view = i === floatOperand[operation] ? floats : block.view
        view[at + 2 + i] = operand
      }
    }
  }
}
