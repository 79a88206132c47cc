/** The imports of docs/quick-start.md, as they are written there, of files of those forms. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { run } from '../support/cli.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const page = readFileSync('docs/quick-start.md', 'utf8')
const typed = page.split('\n').filter((line) => /^ {4}npm run -s freshet -- import \S/.test(line))

/** Beginnings of what is to be imported there. */
const files: Record<string, string> = {
  'clicks.csv': 'user_id,item_id,timestamp\nu1,i1,1700000000\n',
  'items.csv': 'sku,name,tags,price\ni1,Lamp,light|desk,30\n',
  'users.csv': 'customer,country\nu1,NO\n',
  'movies.dat': "1::Toy Story (1995)::Animation|Children's|Comedy\n",
  'ratings.dat': '1::1193::5::978300760\n',
  'clicks.csv.gz':
    'click_timestamp,user_id,session_id,click_article_id,click_os\n1506826800026,59,1,234853,2\n',
}

test('every import of the quick start takes all rows of its file', async () => {
  using folder = temporaryDirectory()
  const script = page.split('\n').find((line) => line.startsWith('    node -e '))
  execFileSync('bash', ['-c', script ?? 'false'], { cwd: folder.path })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text)
  expect(typed.length).toBeGreaterThan(7)
  for (const line of typed) {
    const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain)
    const [, name = '', ...flags] = words.slice(words.indexOf('--') + 1)
    const { text } = await run('import', join(folder.path, name), ...flags, '--dry-run', '--json')
    const json: object = JSON.parse(text)
    const good = name === 'orders.ndjson' ? 20_000 : 1
    expect({ line, ...json }).toMatchObject({ line, rejected: 0, good })
  }
})
