/** The part of WebAssembly that we use; the compiler's `dom` library brings a whole browser. */
declare namespace WebAssembly {
  class Memory {
    constructor(limits: { initial: number; maximum: number; shared: true })
    readonly buffer: SharedArrayBuffer
  }
  class Module {
    constructor(bytes: Uint8Array)
    static exports(module: Module): readonly { readonly name: string }[]
  }
  class Instance<Exports> {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>)
    readonly exports: Exports
  }
}

/** Newer than the libraries of es2024, and in every Node that we run on. */
interface Atomics {
  /** Tells the processor that this is a spinning loop. */
  pause(): void
}
