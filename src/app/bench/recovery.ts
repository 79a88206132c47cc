/**
 * How soon a service that had too much to do is as before: when a second begins in which hardly
 * anybody is refused or waits. One hiccup long after that is none of the overload's.
 */

const windowMs = 100
/** Windows in a row that must be calm, and the share of trouble that a calm one may have. */
const calmWindows = 10
const calmShare = 0.01

/** Answers by the tenth of a second in which they came. */
export class Recovery {
  readonly #from: number
  readonly #windows: { answers: number; troubles: number }[] = []
  #lastTroubleMs = 0

  /** `from`: when the overload ended, ms. */
  constructor(from: number) {
    this.#from = from
  }

  add(at: number, isTrouble: boolean): void {
    const sinceMs = Math.max(0, at - this.#from)
    const place = Math.floor(sinceMs / windowMs)
    while (this.#windows.length <= place) this.#windows.push({ answers: 0, troubles: 0 })
    const window = this.#windows[place]
    window.answers += 1
    window.troubles += Number(isTrouble)
    if (isTrouble) this.#lastTroubleMs = sinceMs
  }

  /** Of the last answer that was refused or late; 0: of none. */
  get lastTroubleMs(): number {
    return Math.round(this.#lastTroubleMs)
  }

  /** Undefined: not as long as it was looked at. */
  get recoveryMs(): number | undefined {
    let calm = 0
    for (const [i, { answers, troubles }] of this.#windows.entries()) {
      // In a window of silence nobody was answered in time either.
      const isCalm = answers > 0 && troubles <= calmShare * answers
      calm = isCalm ? calm + 1 : 0
      if (calm === calmWindows) return (i + 1 - calmWindows) * windowMs
    }
    return undefined
  }
}
