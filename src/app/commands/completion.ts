/** `freshet completion`: prints what a shell reads to complete commands and flags. */
import type { Command } from 'commander'

import type { Terminal } from '../command.ts'
import { completionScript, type Shell, shells } from '../completion.ts'
import { oneOf } from '../flags.ts'

const help = `
  bash: source <(freshet completion bash)       in ~/.bashrc
  zsh:  source <(freshet completion zsh)        in ~/.zshrc, after compinit
  fish: freshet completion fish | source        in ~/.config/fish/config.fish`

export function addCompletion(program: Command, terminal: Terminal): void {
  program
    .command('completion')
    .argument('<shell>', shells.join(', '), oneOf(...shells))
    .description('print a script that completes commands and flags in a shell')
    .addHelpText('after', help)
    .action((shell: Shell) => terminal.print(completionScript(program, shell)))
}
