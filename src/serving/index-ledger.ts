/**
 * Per handle of the catalogue: whose vector the index has there, and the model version that it was
 * embedded with. Shared with the index's second thread, which saves it with the vectors, so that a
 * vector is never given to another item that got the handle since.
 */

/** What the other thread is given. Can be cloned. */
export interface SharedLedger {
  readonly versions: Float64Array
  /** Two words of hash per handle. */
  readonly identities: Uint32Array
}

export class IndexLedger {
  readonly shared: SharedLedger

  constructor(handles: number) {
    this.shared = {
      versions: new Float64Array(new SharedArrayBuffer(handles * 8)),
      identities: new Uint32Array(new SharedArrayBuffer(handles * 8)),
    }
  }

  setVersion(handle: number, version: number): void {
    this.shared.versions[handle] = version
  }

  own(handle: number, itemId: string): void {
    const [low, high] = identityOf(itemId)
    this.shared.identities[handle * 2] = low
    this.shared.identities[handle * 2 + 1] = high
  }

  /** Whether whoever has the handle is whom these two words are of. */
  isSame(handle: number, low: number, high: number): boolean {
    const { identities } = this.shared
    return identities[handle * 2] === low && identities[handle * 2 + 1] === high
  }
}

/** FNV-1a over the text's 16-bit units, twice, from different beginnings. */
function identityOf(text: string): readonly [low: number, high: number] {
  let [low, high] = [0x811c_9dc5, 0x0193_4c1f]
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i)
    low = Math.imul(low ^ unit, 0x0100_0193)
    high = Math.imul(high ^ (unit + 0x9e37), 0x0100_0193)
  }
  return [low >>> 0, high >>> 0]
}
