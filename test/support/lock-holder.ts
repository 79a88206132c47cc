/**
 * A process that opens a file log and holds it until it is killed: `node lock-holder.ts DIRECTORY`.
 */
import { FileLog } from '../../src/stream/files/file-log.ts'
import { interactions } from './events.ts'

const log = await FileLog.open({ directory: process.argv[2], fsync: 'never' })
await log.append(interactions(3))
process.stdout.write('holding\n')
setInterval(() => {}, 60_000)
