/** What a service leaves to time: memory is measured after what nobody needs any more is gone. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: (how: object) => void = runInNewContext('gc')

/** Everything, and gives pages back: some tens of milliseconds. */
export const collectGarbage = (): void =>
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
