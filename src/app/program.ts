/**
 * Builds the command line and maps what goes wrong to messages and exit codes: operating errors are
 * one line with a code; only a bug shows a stack.
 */
import { Command, CommanderError } from 'commander'

import { ServiceError } from '../base/errors.ts'
import type { Terminal } from './command.ts'
import { addBench } from './commands/bench.ts'
import { addCompletion } from './commands/completion.ts'
import { addConfig } from './commands/config.ts'
import { addDemo } from './commands/demo.ts'
import { addEvaluate } from './commands/evaluate.ts'
import { addImportKafka } from './commands/import-kafka.ts'
import { addInspect } from './commands/inspect.ts'
import { addJobs } from './commands/jobs.ts'
import { addKeys } from './commands/keys.ts'
import { addReplay } from './commands/replay.ts'
import { addRestrict } from './commands/restrict.ts'
import { addRollback } from './commands/rollback.ts'
import { addRows } from './commands/rows.ts'
import { addStart } from './commands/start.ts'
import { addExport, addImport } from './commands/tables.ts'
import { addVersions } from './commands/versions.ts'
import { exitCodeOf, exitCodes, exitCodesHelp } from './exit-codes.ts'
import { version } from './machine.ts'

const processTerminal: Terminal = {
  print: (line) => void process.stdout.write(`${line}\n`),
  progress: (line) => void process.stderr.write(`${line}\n`),
  interactive: process.stdout.isTTY,
  exit: (code) => {
    process.exitCode = code
  },
}

/** Every command; nothing runs until `parseAsync`. */
function buildProgram(terminal: Terminal): Command {
  const program = new Command('freshet')
    .description(
      'A recommendation service that learns from every interaction the moment it happens',
    )
    .version(version())
    .showHelpAfterError('(--help shows what there is)')
    .showSuggestionAfterError()
    .addHelpText('after', exitCodesHelp)
    .configureOutput({
      writeOut: (text) => terminal.print(text.trimEnd()),
      writeErr: (text) => terminal.progress(text.trimEnd()),
    })
    .exitOverride()
  // Options behind a command's name are that command's, however many names there are.
  program.enablePositionalOptions()
  addStart(program, terminal)
  addDemo(program, terminal)
  addReplay(program, terminal)
  addEvaluate(program, terminal)
  addBench(program, terminal)
  addInspect(program, terminal)
  addJobs(program, terminal)
  addRestrict(program, terminal)
  addRollback(program, terminal)
  addExport(program, terminal)
  addImport(program, terminal)
  addImportKafka(program, terminal)
  addRows(program, terminal)
  addVersions(program, terminal)
  addKeys(program, terminal)
  addConfig(program, terminal)
  addCompletion(program, terminal)
  return program
}

/** Parses, runs, reports. Never throws. */
export async function runCli(argv: readonly string[], terminal = processTerminal): Promise<void> {
  const program = buildProgram(terminal)
  try {
    await program.parseAsync(argv)
  } catch (error) {
    terminal.exit(reportFailure(error, { terminal, json: argv.includes('--json') }))
  }
}

function reportFailure(
  error: unknown,
  { terminal, json }: { terminal: Terminal; json: boolean },
): number {
  // Commander has written its own message by now.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage
  const { code, message } = describe(error)
  terminal.progress(`freshet: ${code}: ${message}`)
  if (json) terminal.print(JSON.stringify({ error: { code, message } }))
  return exitCodeOf(error)
}

/** An operating error says what it says; anything else is a bug and shows where. */
function describe(error: unknown): { code: string; message: string } {
  if (error instanceof ServiceError) return error
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { code: 'INTERNAL', message: `this is a bug: ${text}` }
}
