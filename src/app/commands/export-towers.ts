/** `freshet export towers`: the newest checkpoint's towers as TensorFlow.js LayersModels. */
import type { Command } from 'commander'

import {
  type ConfigFlags,
  configOf,
  printReport,
  report,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import { exportTowers } from '../tables/tower-export.ts'

interface Flags extends ConfigFlags {
  readonly json?: true
  readonly to: string
}

export function addExportTowers(parent: Command, terminal: Terminal): void {
  const command = parent
    .command('towers')
    .description('both towers of the newest checkpoint as TensorFlow.js LayersModels')
    .requiredOption('--to <directory>', 'where the files go')
    .option('-d, --data <directory>', 'data directory')
  withJson(withConfig(command)).action(async (flags: Flags) => {
    const loaded = configOf(flags, 'shop')
    const result = await exportTowers({ config: loaded.config, directory: flags.to })
    printReport(terminal, flags.json ? report(result, loaded) : result, flags.json === true)
  })
}
