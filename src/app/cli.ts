#!/usr/bin/env node
/** The command line: only wires. Each command lives in `commands/`. */
import { isMainThread } from 'node:worker_threads'

import { runCli } from './program.ts'

if (isMainThread) await runCli(process.argv)
