/** What `npm pack` ships, laid out as npm installs it, and run. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

const root = mkdtempSync(join(tmpdir(), 'freshet-package-'))
const installed = join(root, 'node_modules', 'freshet')

const run = (command: string, args: readonly string[], cwd = process.cwd()): string =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

beforeAll(() => {
  run('npm', ['run', '-s', 'build'])
  const packed = run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', root])
  mkdirSync(installed, { recursive: true })
  run('tar', ['-xzf', join(root, packed.trim()), '--strip-components', '1', '-C', installed])
  // Its dependencies, beside it as npm puts them.
  for (const name of readdirSync('node_modules').filter((one) => !one.startsWith('.'))) {
    symlinkSync(resolve('node_modules', name), join(root, 'node_modules', name))
  }
}, 120_000)

afterAll(() => rmSync(root, { recursive: true, force: true }))

test('it has what it runs on, and neither tests nor sources', () => {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' })
  for (const file of [
    'build/kernels.wasm',
    'configs/shop.yaml',
    'dist/app/cli.js',
    'dist/client/freshet-client.d.ts',
    'dist/serving/dashboard/index.html',
    'dist/trainer/trainer-worker.js',
    'LICENSE',
    'README.md',
  ]) {
    expect(files).toContain(file)
  }
  expect(files.filter((file) => /^(src|test|bench|docs)\//.test(file))).toEqual([])
})

test('its command learns from events', { timeout: 60_000 }, () => {
  const cli = join(installed, 'dist/app/cli.js')
  const rows = Array.from({ length: 300 }, (_, i) => `u${i % 20},i${(i * 7) % 30},${i * 1000}`)
  const file = join(root, 'clicks.csv')
  execFileSync('tee', [file], { input: `user,item,time\n${rows.join('\n')}\n`, stdio: 'pipe' })
  const columns = 'user=user,item=item,time=time:ms'
  const printed = run(process.execPath, [cli, 'replay', file, '--columns', columns, '--json'], root)
  const report: unknown = JSON.parse(printed.trim().split('\n').at(-1) ?? '')
  expect(report).toMatchObject({
    events: 300,
    stateDigest: expect.stringMatching(/^[0-9a-f]{16}$/),
  })
})

test('a program that imports it learns and recommends', { timeout: 60_000 }, () => {
  const script = `
    import { createFreshet } from 'freshet'
    await using freshet = await createFreshet({
      dataDirectory: './shop', onLog: () => {}, listens: true, process: { http: { port: 0 } },
    })
    await freshet.ready()
    const clicks = Array.from({ length: 90 }, (_, i) =>
      ({ kind: 'interaction', userId: 'u' + (i % 9), itemId: 'i' + (i % 10), type: 'click' }))
    const { accepted, offset } = await freshet.append(clicks)
    const { items } = await freshet.recommend({ userId: 'new', n: 3, minSequence: offset })
    const client = await fetch(freshet.address + '/client/freshet-client.js')
    console.log(accepted, items.length, (await client.text()).includes("'./requests.js'"))`
  expect(run(process.execPath, ['--input-type=module', '-e', script], root)).toBe('90 3 true\n')
})

test('its types are all there', { timeout: 60_000 }, () => {
  const script = join(root, 'own.ts')
  const lines = [
    "import { createFreshet, type Freshet, type Recommendations } from 'freshet'",
    'export const ask = (shop: Freshet): Promise<Recommendations> => shop.recommend({ n: 1 })',
    '// @ts-expect-error: an interaction has a user',
    "export const tell = (shop: Freshet) => shop.append([{ kind: 'interaction', itemId: 'i' }])",
    '// @ts-expect-error: a port is a number',
    "export const port = createFreshet({ process: { http: { port: '80' } } })",
  ]
  execFileSync('tee', [script], { input: lines.join('\n'), stdio: 'pipe' })
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024']
  const types = ['--lib', 'es2025,esnext.disposable', '--types', 'node', '--skipLibCheck']
  expect(run(resolve('node_modules/.bin/tsc'), [...options, ...types, script], root)).toBe('')
})

test('its client is imported by name', () => {
  const script = "import { FreshetClient } from 'freshet/client'; console.log(FreshetClient.name)"
  expect(run(process.execPath, ['--input-type=module', '-e', script], root)).toBe('FreshetClient\n')
})

test('the types of its client are all there', { timeout: 60_000 }, () => {
  const script = join(root, 'shop.ts')
  const lines = [
    "import { FreshetClient, type Answer } from 'freshet/client'",
    "const client = new FreshetClient({ baseUrl: 'http://localhost' })",
    'export const ask = (): Promise<Answer> => client.recommend({ n: 1 })',
    '// @ts-expect-error: n is a number',
    "export const wrong = client.recommend({ n: '1' })",
  ]
  execFileSync('tee', [script], { input: lines.join('\n'), stdio: 'pipe' })
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024']
  const libraries = ['--lib', 'es2024,esnext.disposable,dom', '--types', '']
  expect(run(resolve('node_modules/.bin/tsc'), [...options, ...libraries, script], root)).toBe('')
})
