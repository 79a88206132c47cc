#!/usr/bin/env node
/** The command line: only wires. What it does is in `program.ts`, each command in `commands/`. */
import { enableCompileCache } from 'node:module'

// Half of the time to start is compiling our own sources; Node keeps the result for the next start.
enableCompileCache()
const { runCli } = await import('./program.ts')
await runCli(process.argv)
