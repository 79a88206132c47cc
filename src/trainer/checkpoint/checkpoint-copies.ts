/**
 * Copies of whole checkpoints in an object store, so that a trainer on another machine can go on
 * from them. An object is a file, or a piece of a large one; the manifest comes last, so a copy
 * that has one is whole:
 *
 *     <prefix>checkpoint-<sequence>/<epoch>/<file>/<piece>
 *     <prefix>checkpoint-<sequence>/<epoch>/manifest.json
 *
 * Each lease has names of its own: what a trainer that was replaced still sends mixes with nothing.
 * It is no less good either, since a batch is in the journal of the lease before it is learned.
 *
 * Invariant: this end alone writes under its epoch, one copy at a time.
 */
import { createReadStream } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

import { ServiceError } from '../../base/errors.ts'
import {
  checkpointName,
  type CheckpointHeader,
  type ManifestBody,
  manifestFile,
  parseManifest,
  sequenceOf,
  temporaryPrefix,
} from './checkpoint.ts'
import type { ObjectStore } from './object-store.ts'

export interface CheckpointCopy {
  readonly sequence: number
  /** Of the lease under which it was made. */
  readonly epoch: number
}

export interface CheckpointCopiesOptions {
  readonly objects: ObjectStore
  /** Of all names; another one for each model. */
  readonly prefix: string
  /** Of this trainer's lease; whoever only reads has none. */
  readonly epoch?: number
}

/** Small enough to be repeated, and to have some of them in memory. */
const pieceBytes = 16 << 20
const piecesAtOnce = 4
const digits = 6

export class CheckpointCopies {
  readonly #options: CheckpointCopiesOptions
  readonly #manifests = new Map<string, ManifestBody>()

  constructor(options: CheckpointCopiesOptions) {
    this.#options = options
  }

  /** For a person. */
  get place(): string {
    const { objects, prefix } = this.#options
    return `${objects.place}/${prefix}`
  }

  /** Whole ones, oldest first. Throws `CHECKPOINT_STORE_*`, as all of these. */
  async list(): Promise<readonly CheckpointCopy[]> {
    const keys = await this.#keys()
    return keys
      .filter(({ file }) => file === manifestFile)
      .map(({ copy }) => copy)
      .toSorted(inOrder)
  }

  /** What its manifest says. Throws a plain error where that is damaged or gone. */
  async manifest(copy: CheckpointCopy): Promise<ManifestBody> {
    const key = this.#key(copy, manifestFile)
    const known = this.#manifests.get(key)
    if (known !== undefined) return known
    const bytes = await this.#options.objects.get(key)
    if (bytes === undefined) throw new Error('its manifest is gone')
    const manifest = parseManifest(new TextDecoder().decode(bytes))
    this.#manifests.set(key, manifest)
    return manifest
  }

  /** Copies what lies in a directory. Durable when it resolves. */
  async write(directory: string): Promise<void> {
    const { objects, epoch = 0 } = this.#options
    const text = await readFile(join(directory, manifestFile))
    const { sequence, files } = parseManifest(text.toString())
    const copy = { sequence, epoch }
    for (const { name } of files) {
      await this.#send(copy, name, join(directory, name))
    }
    await objects.put(this.#key(copy, manifestFile), text)
  }

  /**
   * Puts a copy into the folder of checkpoints, in the place of another one of the same sequence.
   * Throws a plain error where it is damaged, and then nothing is there.
   */
  async fetch(copy: CheckpointCopy, folder: string): Promise<void> {
    const manifest = await this.manifest(copy)
    const temporary = join(folder, `${temporaryPrefix}${copy.sequence}`)
    const final = join(folder, checkpointName(copy.sequence))
    await rm(temporary, { recursive: true, force: true })
    await mkdir(temporary, { recursive: true })
    try {
      for (const file of manifest.files) await this.#receive(copy, file, temporary)
      const text = await this.#options.objects.get(this.#key(copy, manifestFile))
      if (text === undefined) throw new Error('its manifest is gone')
      await writeDurably(join(temporary, manifestFile), [text])
      await rm(final, { recursive: true, force: true })
      await rename(temporary, final)
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  /** Whether the folder has this very copy. */
  async isIn(copy: CheckpointCopy, folder: string): Promise<boolean> {
    const path = join(folder, checkpointName(copy.sequence), manifestFile)
    const found = await readFile(path, 'utf8').catch(() => '')
    if (found === '') return false
    const manifest = await this.manifest(copy)
    return JSON.stringify(parseManifest(found)) === JSON.stringify(manifest)
  }

  /** The chunks of one part, in memory. Throws a plain error where it is damaged or gone. */
  async part(copy: CheckpointCopy, name: string): Promise<readonly Uint8Array[]> {
    const file = (await this.manifest(copy)).files.find((one) => one.name === name)
    if (file === undefined) return []
    const pieces: Uint8Array[] = []
    for await (const piece of this.#pieces(copy, file)) pieces.push(piece)
    return [...chunksOf(Buffer.concat(pieces))]
  }

  /**
   * Removes all but the newest `keep` and what they need, and what was begun and never ended. What
   * the oldest that is left says.
   */
  async prune(keep: number): Promise<CheckpointHeader | undefined> {
    const { objects, epoch = 0 } = this.#options
    const keys = await this.#keys()
    const whole = keys.filter(({ file }) => file === manifestFile).map(({ copy }) => copy)
    const newest = whole.toSorted(inOrder).slice(-keep)
    const sequences = new Set(newest.map(({ sequence }) => sequence))
    for (const copy of newest) {
      const manifest = await this.manifest(copy).catch(unlessAway)
      if (manifest?.base !== undefined) sequences.add(manifest.base)
    }
    const isWhole = new Set(whole.map((copy) => this.#key(copy, '')))
    const isKept = (copy: CheckpointCopy): boolean =>
      copy.epoch > epoch || (sequences.has(copy.sequence) && isWhole.has(this.#key(copy, '')))
    // A copy without its manifest is none: so it ends, too, when this ends half way.
    const leaving = keys.filter(({ copy }) => !isKept(copy))
    for (const { key } of leaving.toSorted(manifestsFirst)) {
      await objects.remove(key)
      this.#manifests.delete(key)
    }
    return await this.#first(whole.filter(isKept))
  }

  /** What the oldest whose manifest can be read says. */
  async oldest(): Promise<CheckpointHeader | undefined> {
    return await this.#first(await this.list())
  }

  close(): void {
    this.#options.objects.close()
  }

  async #first(copies: readonly CheckpointCopy[]): Promise<CheckpointHeader | undefined> {
    for (const copy of copies.toSorted(inOrder)) {
      const manifest = await this.manifest(copy).catch(unlessAway)
      if (manifest !== undefined) return manifest
    }
    return undefined
  }

  async #send(copy: CheckpointCopy, name: string, path: string): Promise<void> {
    const { objects } = this.#options
    let index = 0
    let sending: Promise<void>[] = []
    for await (const piece of createReadStream(path, { highWaterMark: pieceBytes })) {
      const put = objects.put(this.#pieceKey(copy, name, index), bytesOf(piece))
      // It may fail while the next piece is read, when nobody waits for it yet.
      put.catch(() => undefined)
      sending.push(put)
      index += 1
      if (sending.length < piecesAtOnce) continue
      await Promise.all(sending)
      sending = []
    }
    await Promise.all(sending)
  }

  async #receive(copy: CheckpointCopy, file: File, directory: string): Promise<void> {
    await writeDurably(join(directory, file.name), this.#pieces(copy, file))
  }

  /** Of one file, in order; ends with an error where it is not what the manifest says. */
  async *#pieces(copy: CheckpointCopy, { name, bytes, crc }: File): AsyncGenerator<Uint8Array> {
    let read = 0
    let sum = 0
    for (let index = 0; read < bytes; index += 1) {
      const piece = await this.#options.objects.get(this.#pieceKey(copy, name, index))
      if (piece === undefined) throw new Error(`piece ${index} of ${name} is gone`)
      read += piece.length
      sum = crc32(piece, sum)
      yield piece
    }
    if (read !== bytes || sum !== crc) throw new Error(`${name} fails its checksum`)
  }

  async #keys(): Promise<readonly PlacedKey[]> {
    const { objects, prefix } = this.#options
    const keys = await objects.list(prefix)
    return keys.flatMap((key) => {
      const [name = '', epoch, file = ''] = key.slice(prefix.length).split('/')
      const copy = { sequence: sequenceOf(name) ?? NaN, epoch: Number(epoch) }
      const isOurs = Number.isSafeInteger(copy.sequence) && Number.isSafeInteger(copy.epoch)
      return isOurs ? [{ key, copy, file }] : []
    })
  }

  #key({ sequence, epoch }: CheckpointCopy, file: string): string {
    return `${this.#options.prefix}${checkpointName(sequence)}/${epoch}/${file}`
  }

  #pieceKey(copy: CheckpointCopy, file: string, index: number): string {
    return this.#key(copy, `${file}/${String(index).padStart(digits, '0')}`)
  }
}

type File = ManifestBody['files'][number]

interface PlacedKey {
  readonly key: string
  readonly copy: CheckpointCopy
  readonly file: string
}

const inOrder = (a: CheckpointCopy, b: CheckpointCopy): number =>
  a.sequence - b.sequence || a.epoch - b.epoch

const manifestsFirst = (a: PlacedKey, b: PlacedKey): number =>
  Number(b.file === manifestFile) - Number(a.file === manifestFile)

/** What is damaged is not there; what cannot be asked for is an error. */
function unlessAway(error: unknown): undefined {
  if (error instanceof ServiceError) throw error
}

const bytesOf = (piece: unknown): Uint8Array =>
  piece instanceof Uint8Array ? piece : new TextEncoder().encode(String(piece))

async function writeDurably(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await open(path, 'wx')
  try {
    for await (const piece of pieces) await file.writeFile(piece)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The chunks of a part's file, which is in memory. */
function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at < bytes.length;) {
    const from = at + 4
    at = from + view.getUint32(at, true)
    yield bytes.subarray(from, at)
  }
}
