/**
 * Completion of commands and flags in a shell, as a script that is made from the commands that
 * there are. It asks nobody while one types.
 */
import type { Command } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** `freshet import tables` and the words that may follow. */
interface Place {
  readonly path: string
  readonly words: readonly string[]
}

/** To be sourced: `source <(freshet completion bash)`. */
export function completionScript(program: Command, shell: Shell): string {
  const places = [...placesOf(program, program.name())]
  return shell === 'fish' ? fishScript(places) : bashScript(places, shell)
}

/** One function says what may come next, as in bash; files where nothing does. */
function fishScript(places: readonly Place[]): string {
  const deeper = places.slice(1).map(({ path }) => `'${path}'`)
  const lines = [
    'function __freshet_words',
    '  set -l place freshet',
    '  for word in (commandline -opc)[2..]',
    `    contains -- "$place $word" ${deeper.join(' ')}; and set place "$place $word"`,
    '  end',
    '  switch $place',
    ...places.map(({ path, words }) => `    case '${path}'; printf '%s\\n' ${words.join(' ')}`),
    '  end',
    'end',
    "complete -c freshet -a '(__freshet_words)'",
  ]
  return lines.join('\n')
}

function bashScript(places: readonly Place[], shell: Shell): string {
  const deeper = places.slice(1).map(({ path }) => `'${path}'`)
  const lines = [
    ...(shell === 'zsh' ? ['#compdef freshet', 'autoload -U +X bashcompinit && bashcompinit'] : []),
    '_freshet() {',
    '  local cur="${COMP_WORDS[COMP_CWORD]}" place=freshet word words=',
    '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
    `    case "$place $word" in ${deeper.join('|')}) place="$place $word" ;; esac`,
    '  done',
    '  case "$place" in',
    ...places.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`),
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "$cur"))',
    '  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))',
    '}',
    'complete -o filenames -F _freshet freshet',
  ]
  return lines.join('\n')
}

function* placesOf(command: Command, path: string): Generator<Place> {
  const flags = command.options.flatMap(({ long }) => long ?? [])
  const names = command.commands.map((one) => one.name())
  yield { path, words: [...names, ...flags, '--help'] }
  for (const one of command.commands) yield* placesOf(one, `${path} ${one.name()}`)
}
