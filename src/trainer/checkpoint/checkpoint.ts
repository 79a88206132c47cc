/**
 * Checkpoints on disk: one directory each, `checkpoint-<sequence>`, with a file per part and a
 * manifest. Written under another name, every file synced, the manifest last, and then renamed: a
 * directory of that name is either whole or damaged by something else than a crash of ours. What
 * is damaged is reported and passed over; see "Checkpoints" in docs/formats.md.
 *
 * A part is a list of chunks, each preceded by its length (u32). The manifest holds each file's
 * size and CRC-32, and its own.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'

import { ServiceError } from '../../base/errors.ts'
import type { Json } from '../../stream/event.ts'

export interface CheckpointPart {
  /** Also the file's name: letters, digits, "-", "." and "_". */
  readonly name: string
  /** Read once, while the part is written; undefined: others may want a turn. */
  readonly chunks: Iterable<Uint8Array | undefined>
}

/** What the manifest says beside the list of files. */
export interface CheckpointHeader {
  /** Batches trained on: later checkpoints have larger ones. */
  readonly sequence: number
  /** The next event to be folded, per partition. */
  readonly position: Readonly<Record<number, string>>
  /** Epoch ms. */
  readonly createdAt: number
  /** The configuration that it was made with; compared when it is restored. */
  readonly config: Json
  /** The full checkpoint that this one is a delta to; absent: it is full itself. */
  readonly base?: number
}

interface FileEntry {
  readonly name: string
  readonly bytes: number
  readonly crc: number
}

/** What a manifest says: the list of files, too. */
export interface ManifestBody extends CheckpointHeader {
  readonly format: typeof formatName
  readonly version: typeof formatVersion
  readonly files: readonly FileEntry[]
}

/** A checkpoint whose checksums are right. */
export interface Checkpoint extends CheckpointHeader {
  readonly bytes: number
  /** Of all its files: of another checkpoint they are others. */
  readonly checksums: readonly number[]
  /** Names of its parts, in the order in which they were written. */
  readonly parts: readonly string[]
  /** The chunks of a part; none if there is no such part. */
  chunks(name: string): Generator<Uint8Array>
}

export interface DamagedCheckpoint {
  readonly directory: string
  readonly reason: string
}

export interface CheckpointStoreOptions {
  readonly directory: string
  /** Older ones are removed. */
  readonly keep: number
  /** Where they are written before they are put in place; absent: `directory`. */
  readonly workshop?: string
}

const formatName = 'freshet-checkpoint'
const formatVersion = 2
export const manifestFile = 'manifest.json'
const prefix = 'checkpoint-'
/** Of what is not whole yet. */
export const temporaryPrefix = 'writing-'
/** Of a checkpoint that another one is about to take the place of. */
const asidePrefix = 'replaced-'
/** Of a part that is a table's snapshot, and of one that is a delta to that of the base. */
const tablePrefix = 'table-'
const deltaPrefix = 'delta-'
const readBytes = 1 << 20
/** Two buffers each, and a call of the system takes 1,024. */
const chunksPerWrite = 512
/** Rows are copied as they are read, for which a batch waits: a millisecond or so of each part. */
const bytesPerWrite = 1 << 20

export class CheckpointStore {
  readonly #options: CheckpointStoreOptions

  constructor(options: CheckpointStoreOptions) {
    this.#options = options
  }

  /**
   * Durable when it resolves, and in the place of one with the same sequence. Throws
   * `CHECKPOINT_FAILED`; what was there before is untouched then. Returns the bytes written.
   */
  async write(header: CheckpointHeader, parts: readonly CheckpointPart[]): Promise<number> {
    const { directory, workshop } = this.#options
    const temporary = join(workshop ?? directory, `${temporaryPrefix}${header.sequence}`)
    try {
      await rm(temporary, { recursive: true, force: true })
      // A workshop that is gone was taken away: nothing is written any more.
      await mkdir(temporary, { recursive: workshop === undefined })
      const files = await writeParts(temporary, parts)
      await writeManifest(temporary, {
        format: formatName,
        version: formatVersion,
        ...header,
        files,
      })
      await syncDirectory(temporary)
      await this.#putInPlace(temporary, checkpointName(header.sequence))
      await this.#prune()
      return files.reduce((sum, file) => sum + file.bytes, 0)
    } catch (cause) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
      throw new ServiceError('CHECKPOINT_FAILED', { directory, reason: String(cause) }, { cause })
    }
  }

  /**
   * The newest one that is whole and that `refuse` gives no reason against; those newer than it are
   * handed to `passedOver`.
   */
  newest(
    passedOver: (found: DamagedCheckpoint) => void,
    refuse: (found: Checkpoint) => string | undefined = () => undefined,
  ): Checkpoint | undefined {
    for (const sequence of this.sequences().toReversed()) {
      const directory = join(this.#options.directory, checkpointName(sequence))
      try {
        const found = this.#read(sequence)
        const reason = refuse(found)
        if (reason === undefined) return found
        passedOver({ directory, reason })
      } catch (error) {
        passedOver({ directory, reason: String(error) })
      }
    }
    return undefined
  }

  /** The one of that sequence; undefined if it is gone or damaged. */
  at(sequence: number): Checkpoint | undefined {
    try {
      return this.#read(sequence)
    } catch {
      return undefined
    }
  }

  /**
   * The chunks of one part of one checkpoint, whose checksum is right; undefined if it is gone or
   * damaged.
   */
  part(sequence: number, name: string): Iterable<Uint8Array> | undefined {
    const directory = join(this.#options.directory, checkpointName(sequence))
    try {
      const entry = readManifest(directory).files.find((file) => file.name === name)
      if (entry === undefined) return undefined
      verify(join(directory, name), entry)
      return readChunks(join(directory, name))
    } catch {
      return undefined
    }
  }

  /** Of all that are kept, oldest first; whether they are whole is not looked at. */
  sequences(): readonly number[] {
    return entries(this.#options.directory)
      .map((name) => sequenceOf(name))
      .filter((sequence) => sequence !== undefined)
      .toSorted((a, b) => a - b)
  }

  /** Of all that are kept, the newest first, what their manifests say; unreadable ones left out. */
  list(): readonly ManifestBody[] {
    const { directory } = this.#options
    const manifests = this.sequences().map((sequence) => {
      try {
        return readManifest(join(directory, checkpointName(sequence)))
      } catch {
        return undefined
      }
    })
    return manifests.filter((manifest) => manifest !== undefined).toReversed()
  }

  /** The full checkpoint that one is a delta to; throws where its manifest cannot be read. */
  baseOf(sequence: number): number | undefined {
    return readManifest(join(this.#options.directory, checkpointName(sequence))).base
  }

  /** Damaged ones are deltas to nobody. */
  #baseOrSelf(sequence: number): number {
    try {
      return this.baseOf(sequence) ?? sequence
    } catch {
      return sequence
    }
  }

  /** The oldest whose manifest can be read: what a restart may need of the log and the journal. */
  oldest(): CheckpointHeader | undefined {
    for (const sequence of this.sequences()) {
      try {
        return readManifest(join(this.#options.directory, checkpointName(sequence)))
      } catch {
        // A restart passes over it too.
      }
    }
    return undefined
  }

  /**
   * What a crash left half written or half replaced. Call it before the first write. Throws
   * `CHECKPOINT_FAILED` where it cannot be taken away or put back.
   */
  async clean(): Promise<void> {
    const { directory } = this.#options
    try {
      await cleanDirectory(directory)
    } catch (cause) {
      throw new ServiceError('CHECKPOINT_FAILED', { directory, reason: String(cause) }, { cause })
    }
  }

  /** At every moment one of the two is there, or is put back by `clean`. */
  async #putInPlace(temporary: string, name: string): Promise<void> {
    const { directory } = this.#options
    const [final, aside] = [name, asidePrefix + name].map((one) => join(directory, one))
    if (existsSync(final)) {
      await rm(aside, { recursive: true, force: true })
      await rename(final, aside)
    }
    await rename(temporary, final).catch(async (error: unknown) => {
      await cleanDirectory(directory)
      throw error
    })
    await syncDirectory(directory)
    await rm(aside, { recursive: true, force: true })
  }

  /** With the one that it is a delta to. Throws where either is damaged. */
  #read(sequence: number): Checkpoint {
    const found = readCheckpoint(join(this.#options.directory, checkpointName(sequence)))
    if (found.base === undefined) return found
    const base = readCheckpoint(join(this.#options.directory, checkpointName(found.base)))
    if (base.base !== undefined) throw new Error(`${found.base} is no full checkpoint`)
    return joined(base, found)
  }

  /** All but the newest, and those that these are deltas to. */
  async #prune(): Promise<void> {
    const { directory, keep } = this.#options
    const sequences = this.sequences()
    const newest = sequences.slice(Math.max(0, sequences.length - keep))
    const kept = new Set([...newest, ...newest.map((sequence) => this.#baseOrSelf(sequence))])
    for (const sequence of sequences.filter((one) => !kept.has(one))) {
      await rm(join(directory, checkpointName(sequence)), { recursive: true, force: true })
    }
  }
}

async function cleanDirectory(directory: string): Promise<void> {
  for (const name of entries(directory).filter((entry) => entry.startsWith(asidePrefix))) {
    const [aside, final] = [name, name.slice(asidePrefix.length)].map((one) => join(directory, one))
    if (existsSync(final)) await rm(aside, { recursive: true, force: true })
    else await rename(aside, final)
  }
  for (const name of entries(directory).filter((entry) => entry.startsWith(temporaryPrefix))) {
    await rm(join(directory, name), { recursive: true, force: true })
  }
}

/** Of a delta: its tables are those of its base and what has changed since. */
function joined(base: Checkpoint, delta: Checkpoint): Checkpoint {
  const ofDelta = new Map(
    delta.parts
      .filter((name) => name.startsWith(deltaPrefix))
      .map((name) => [tablePrefix + name.slice(deltaPrefix.length), name]),
  )
  const fullNames = new Map([...ofDelta].map(([full, name]) => [name, full]))
  return {
    ...delta,
    checksums: [...base.checksums, ...delta.checksums],
    parts: delta.parts.map((name) => fullNames.get(name) ?? name),
    *chunks(name) {
      const part = ofDelta.get(name)
      if (part !== undefined) yield* base.chunks(name)
      yield* delta.chunks(part ?? name)
    },
  }
}

/** Of its directory. */
export const checkpointName = (sequence: number): string =>
  prefix + String(sequence).padStart(12, '0')

/** Names of the parts of a table. */
export const tablePart = (table: string): string => tablePrefix + table
export const deltaPart = (table: string): string => deltaPrefix + table

/** Undefined: it is no such name. */
export function sequenceOf(name: string): number | undefined {
  const sequence = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : NaN
  return Number.isSafeInteger(sequence) ? sequence : undefined
}

const entries = (directory: string): string[] => {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/**
 * All at the same time: what changes before its part is read has to be kept. Resolves or rejects
 * when all have ended.
 */
async function writeParts(
  directory: string,
  parts: readonly CheckpointPart[],
): Promise<readonly FileEntry[]> {
  const results = await Promise.allSettled(parts.map((part) => writePart(directory, part)))
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

async function writePart(directory: string, part: CheckpointPart): Promise<FileEntry> {
  const file = await open(join(directory, part.name), 'wx')
  try {
    let bytes = 0
    let crc = 0
    for (const pieces of writesOf(part.chunks)) {
      if (pieces.length === 0) await setImmediate()
      for (const piece of pieces) crc = crc32(piece, crc)
      if (pieces.length > 0) bytes += await writeAll(file, pieces)
    }
    await file.sync()
    return { name: part.name, bytes, crc }
  } finally {
    await file.close()
  }
}

/**
 * What goes to the file in one call: chunks with their lengths, bounded in number and bytes; or
 * nothing, for a pause.
 */
function* writesOf(chunks: CheckpointPart['chunks']): Generator<readonly Uint8Array[]> {
  let pieces: Uint8Array[] = []
  let bytes = 0
  for (const chunk of chunks) {
    if (chunk === undefined) {
      yield []
      continue
    }
    pieces.push(...withLength(chunk))
    bytes += chunk.length
    if (pieces.length < 2 * chunksPerWrite && bytes < bytesPerWrite) continue
    yield pieces
    pieces = []
    bytes = 0
  }
  if (pieces.length > 0) yield pieces
}

function withLength(chunk: Uint8Array): readonly Uint8Array[] {
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, chunk.length, true)
  return [length, chunk]
}

type File = Awaited<ReturnType<typeof open>>

/** In as few calls as possible: training goes on in between, a slice for each. */
async function writeAll(file: File, pieces: readonly Uint8Array[]): Promise<number> {
  const total = pieces.reduce((sum, { length }) => sum + length, 0)
  let { bytesWritten: done } = await file.writev([...pieces])
  while (done < total) {
    const rest = Buffer.concat(pieces, total).subarray(done)
    const { bytesWritten } = await file.write(rest)
    done += bytesWritten
  }
  return total
}

async function writeManifest(directory: string, body: ManifestBody): Promise<void> {
  const crc = crc32(JSON.stringify(body))
  const file = await open(join(directory, manifestFile), 'wx')
  try {
    await file.writeFile(`${JSON.stringify({ crc, body }, undefined, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const readManifest = (directory: string): ManifestBody =>
  parseManifest(readFileSync(join(directory, manifestFile), 'utf8'))

/** Throws a plain error that says what is wrong: the caller reports it. */
export function parseManifest(text: string): ManifestBody {
  // The checksum vouches for the shape: nobody else writes one.
  const { crc, body }: { crc: number; body: ManifestBody } = JSON.parse(text)
  if (crc32(JSON.stringify(body)) !== crc) throw new Error('the manifest fails its checksum')
  if (body.format !== formatName || body.version !== formatVersion) {
    throw new Error(`format ${body.format} ${body.version} is not ${formatName} ${formatVersion}`)
  }
  return body
}

function readCheckpoint(directory: string): Checkpoint {
  const { files, sequence, position, createdAt, config, base } = readManifest(directory)
  for (const file of files) verify(join(directory, file.name), file)
  const names = new Set(files.map((file) => file.name))
  return {
    sequence,
    position,
    createdAt,
    config,
    ...(base !== undefined && { base }),
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    checksums: files.map((file) => file.crc),
    parts: files.map((file) => file.name),
    *chunks(name) {
      if (names.has(name)) yield* readChunks(join(directory, name))
    },
  }
}

function verify(path: string, expected: FileEntry): void {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    if (size !== expected.bytes) {
      throw new Error(`${expected.name} has ${size} bytes instead of ${expected.bytes}`)
    }
    const buffer = new Uint8Array(readBytes)
    let crc = 0
    for (let read = readSync(file, buffer); read > 0; read = readSync(file, buffer)) {
      crc = crc32(buffer.subarray(0, read), crc)
    }
    if (crc !== expected.crc) throw new Error(`${expected.name} fails its checksum`)
  } finally {
    closeSync(file)
  }
}

function* readChunks(path: string): Generator<Uint8Array> {
  const file = openSync(path, 'r')
  try {
    const length = new Uint8Array(4)
    while (readSync(file, length) === 4) {
      const chunk = new Uint8Array(new DataView(length.buffer).getUint32(0, true))
      for (let at = 0; at < chunk.length;) at += readSync(file, chunk, at, chunk.length - at, null)
      yield chunk
    }
  } finally {
    closeSync(file)
  }
}
