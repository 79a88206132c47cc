/** One line on a terminal that says how far something is; nothing where nobody watches. */
import { clearLine, cursorTo } from 'node:readline'

const width = 24
const leastMs = 100

export interface ProgressBar extends Disposable {
  /** `done` of `total`, which may not be known. Each `what` has its own clock. */
  show(what: string, done: number, total?: number): void
}

/** On stderr, where that is a terminal; with a line every `quietMs` where it is none. */
export function progressBar(
  tell: (line: string) => void,
  { stream = process.stderr, quietMs = 5_000 } = {},
): ProgressBar {
  let current = ''
  let begun = 0
  let shownAt = -Infinity
  const clear = (): void => {
    if (!stream.isTTY) return
    cursorTo(stream, 0)
    clearLine(stream, 0)
  }
  return {
    show(what, done, total) {
      const now = performance.now()
      if (what !== current) {
        current = what
        begun = now
      }
      if (now - shownAt < (stream.isTTY ? leastMs : quietMs)) return
      if (!stream.isTTY && shownAt === -Infinity) {
        shownAt = now
        return
      }
      shownAt = now
      const line = lineOf(what, { done, total, seconds: (now - begun) / 1_000 })
      if (!stream.isTTY) return tell(line)
      clear()
      stream.write(line.slice(0, (stream.columns || 80) - 1))
    },
    [Symbol.dispose]: clear,
  }
}

interface Progress {
  readonly done: number
  readonly total: number | undefined
  readonly seconds: number
}

export function lineOf(what: string, { done, total, seconds }: Progress): string {
  const rate = seconds > 0 ? ` ${count(done / seconds)}/s` : ''
  if (total === undefined || total === 0) return `${what} ${count(done)}${rate}`
  const share = Math.min(1, done / total)
  const full = Math.round(share * width)
  const bar = '█'.repeat(full) + '░'.repeat(width - full)
  const left =
    seconds > 0 && share > 0 && share < 1
      ? `, ${Math.ceil((seconds / share) * (1 - share))} s left`
      : ''
  return `${what} ${bar} ${Math.floor(share * 100)} % of ${count(total)}${rate}${left}`
}

const count = (number: number): string => Math.round(number).toLocaleString('en-US')
