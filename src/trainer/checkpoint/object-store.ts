/**
 * A place for named bytes that outlives this machine: what checkpoints are copied to. Whoever reads
 * a name gets what was put there last, whole.
 */
export interface ObjectStore {
  /** For a person. */
  readonly place: string
  /** Durable when it resolves. Throws `CHECKPOINT_STORE_*`, as all of these. */
  put(key: string, bytes: Uint8Array): Promise<void>
  /** Undefined: there is none. */
  get(key: string): Promise<Uint8Array | undefined>
  /** All keys that begin so, in their order. */
  list(prefix: string): Promise<readonly string[]>
  /** Also of one that is not there. */
  remove(key: string): Promise<void>
  /** What is under way is given up. */
  close(): void
}
