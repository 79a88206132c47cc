/** `freshet config`: the schema of the configuration, its options, and what is in force. */
import type { Command } from 'commander'
import { stringify } from 'yaml'

import { type ConfigFlags, configOf, type Terminal, withConfig, withJson } from '../command.ts'
import { options } from '../config/config-paths.ts'
import { jsonSchema } from '../config/config-schema.ts'
import { withoutSecrets } from '../config/without-secrets.ts'

interface JsonFlag {
  readonly json?: true
}

export function addConfig(program: Command, terminal: Terminal): void {
  const config = program.command('config').description('the configuration: schema, options, values')
  withJson(config.command('schema'))
    .description('print the JSON schema of the configuration file')
    .action(({ json }: JsonFlag) => {
      terminal.print(JSON.stringify(jsonSchema(), null, json === true ? 0 : 2))
    })
  withJson(config.command('options'))
    .description('list every single-valued option with its variable, default, unit and meaning')
    .action(({ json }: JsonFlag) => {
      if (json === true) return terminal.print(JSON.stringify({ options }))
      for (const option of options) {
        const unit = option.unit === undefined ? '' : ` ${option.unit}`
        const value = option.default === undefined ? 'required' : JSON.stringify(option.default)
        terminal.print(`${option.path.join('.')} = ${value}${unit}`)
        terminal.print(`    ${option.variable}: ${option.description ?? ''}`)
      }
    })
  withJson(withConfig(config.command('show')))
    .description('print the values in force: file, environment and flags, defaults filled in')
    .action((flags: ConfigFlags & JsonFlag) => {
      const loaded = configOf(flags, 'shop')
      const shown = withoutSecrets(loaded.config)
      const text = flags.json ? JSON.stringify(shown) : stringify(shown).trimEnd()
      terminal.print(text)
    })
  withJson(withConfig(config.command('validate')))
    .description('check a configuration file; exit code 2 if it is wrong')
    .action((flags: ConfigFlags & JsonFlag) => {
      const { source, config: loaded, modelHash } = configOf(flags, 'shop')
      const { name } = loaded.model
      if (flags.json === true) {
        terminal.print(JSON.stringify({ source, valid: true, model: name, modelHash }))
      } else terminal.print(`${source}: valid, model ${name} ${modelHash}`)
    })
}
