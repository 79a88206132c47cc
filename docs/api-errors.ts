/**
 * The table of problem codes in docs/api.md, from the one table of errors: `node docs/api-errors.ts`
 * writes it there. A test holds the page to it.
 */
import { readFileSync, writeFileSync } from 'node:fs'

import { errorTable } from '../src/base/errors.ts'

const page = 'docs/api.md'
const [begin, end] = ['<!-- codes -->\n', '<!-- /codes -->\n']

/** A row for each code, in the order of the alphabet. */
function codesTable(): string {
  const rows = Object.entries(errorTable).map(([code, { status, retryable, text }]) => {
    const meaning = text.replaceAll('|', String.raw`\|`).replaceAll(/[{}]/g, '*')
    return `| \`${code}\` | ${status} | ${retryable ? 'yes' : ''} | ${meaning} |`
  })
  const head = ['| code | status | send it again | what it says |', '|---|---|---|---|']
  return `${[...head, ...rows].join('\n')}\n`
}

/** The page with the table as it should be. */
export function withCodes(text: string): string {
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${page} has no place for the codes`)
  return `${text.slice(0, from + begin.length)}\n${codesTable()}\n${text.slice(to)}`
}

if (import.meta.main) writeFileSync(page, withCodes(readFileSync(page, 'utf8')))
