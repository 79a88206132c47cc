/** `freshet config`: the schema of the configuration, its options, and what is in force. */
import type { Command } from 'commander'
import { stringify } from 'yaml'

import { type ConfigFlags, configOf, type Terminal, withConfig } from '../command.ts'
import { options } from '../config/config-paths.ts'
import { jsonSchema } from '../config/config-schema.ts'
import { withoutSecrets } from '../config/without-secrets.ts'

export function addConfig(program: Command, terminal: Terminal): void {
  const config = program.command('config').description('the configuration: schema, options, values')
  config
    .command('schema')
    .description('print the JSON schema of the configuration file')
    .action(() => terminal.print(JSON.stringify(jsonSchema(), null, 2)))
  config
    .command('options')
    .description('list every single-valued option with its variable, default, unit and meaning')
    .action(() => {
      for (const option of options) {
        const unit = option.unit === undefined ? '' : ` ${option.unit}`
        const value = option.default === undefined ? 'required' : JSON.stringify(option.default)
        terminal.print(`${option.path.join('.')} = ${value}${unit}`)
        terminal.print(`    ${option.variable}: ${option.description ?? ''}`)
      }
    })
  withConfig(config.command('show'))
    .description('print the values in force: file, environment and flags, defaults filled in')
    .option('--json', 'as one JSON object')
    .action((flags: ConfigFlags & { json?: true }) => {
      const loaded = configOf(flags, 'shop')
      const shown = withoutSecrets(loaded.config)
      const text = flags.json ? JSON.stringify(shown) : stringify(shown).trimEnd()
      terminal.print(text)
    })
  withConfig(config.command('validate'))
    .description('check a configuration file; exit code 2 if it is wrong')
    .action((flags: ConfigFlags) => {
      const loaded = configOf(flags, 'shop')
      terminal.print(
        `${loaded.source}: valid, model ${loaded.config.model.name} ${loaded.modelHash}`,
      )
    })
}
