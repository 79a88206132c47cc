#!/usr/bin/env -S node --v8-pool-size=1
/**
 * The command line: only wires. What it does is in `program.ts`, each command in `commands/`.
 *
 * One helper thread for V8 instead of its four (see `runtime-flags.ts`): a process cannot say so
 * of itself, so the line above and the scripts of `package.json` do.
 */
import { enableCompileCache } from 'node:module'

import { setFlags } from './runtime-flags.ts'

// Half of the time to start is compiling our own sources; Node keeps the result for the next start.
enableCompileCache()
setFlags()
// Whoever reads along may have seen enough (`| head`): that ends no service.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}
const { runCli } = await import('./program.ts')
await runCli(process.argv)
