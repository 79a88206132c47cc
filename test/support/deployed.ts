/**
 * The image without an engine: a folder into which is copied and built what deploy/Dockerfile says,
 * and processes of it, started as ENTRYPOINT says, with variables and arguments of a deployment alone.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { argv0, env } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

import { parse, stringify } from 'yaml'

import { loadConfig, parseOverride } from '../../src/app/config/config.ts'
import { ServiceClient } from '../../src/app/service-client.ts'
import { smallShop } from '../app/small-service.ts'
import { dockerfile, imageEnvironment, jsonOf, root, textOf } from './deployment.ts'
import { freePort } from './ports.ts'
import { hasEnded } from './programs.ts'

/** What the default of FRESHET_KEY_SHA256 is the digest of. */
export const demoKey = 'freshet-demo'

const readyLimitMs = 180_000

export type Variables = Readonly<Record<string, string>>

export interface Deployed {
  readonly name: string
  readonly client: ServiceClient
  readonly log: readonly string[]
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
}

/** Invariant: what was started is ended when it is disposed. */
export class ImageFolder implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), 'freshet-image-'))
  readonly #children = new Set<ChildProcess>()

  constructor() {
    symlinkSync(join(root, 'node_modules'), join(this.path, 'node_modules'))
    // Both stages in one folder.
    for (const [name, text] of dockerfile()) {
      if (name !== 'COPY' || text.startsWith('--from')) continue
      const paths = text.split(' ')
      const target = paths.pop() ?? ''
      for (const path of paths) {
        const isFolder = target.endsWith('/')
        const place = join(this.path, target, isFolder ? basename(path) : '')
        cpSync(join(root, path), place, { recursive: true })
      }
    }
    const build = dockerfile().find(([name, text]) => name === 'RUN' && text.includes('build'))
    const [command = ''] = build?.[1].split(' && ') ?? []
    const built = spawnSync('/bin/sh', ['-ec', command], { cwd: this.path, encoding: 'utf8' })
    if (built.status !== 0) throw new Error(`${command}: ${built.stdout}${built.stderr}`)
    writeFileSync(this.smallModel, smallModel())
  }

  /** A configuration with the bundled model, but smaller. */
  get smallModel(): string {
    return join(this.path, 'small.yaml')
  }

  /** Resolves when its health check says that it is ready. */
  async start(name: string, args: readonly string[], variables: Variables): Promise<Deployed> {
    const port = await freePort()
    // Nothing else comes from outside, as in a container.
    const given = {
      PATH: env['PATH'] ?? '',
      ...imageEnvironment(),
      ...variables,
      FRESHET_HTTP_HOST: '127.0.0.1',
      FRESHET_HTTP_PORT: String(port),
    }
    const [, ...command] = this.#placed(jsonOf('ENTRYPOINT'))
    const child = spawn(argv0, [...command, ...args], { env: given, cwd: this.path })
    this.#children.add(child)
    const log: string[] = []
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => log.push(text.trimEnd()))
    }
    await this.#healthy(name, child, { given, log })
    const address = `http://127.0.0.1:${port}`
    const client = new ServiceClient(address, undefined, demoKey)
    return { name, client, log, end: (signal) => ended(child, signal) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#children].map((child) => ended(child, 'SIGKILL')))
    rmSync(this.path, { recursive: true, force: true })
  }

  #placed(words: readonly string[]): readonly string[] {
    return words.map((word) => word.replace(/^\/app\//, `${this.path}/`))
  }

  async #healthy(
    name: string,
    child: ChildProcess,
    { given, log }: { readonly given: Variables; readonly log: readonly string[] },
  ): Promise<void> {
    const [, ...check] = this.#placed(jsonOf('HEALTHCHECK'))
    const limit = performance.now() + readyLimitMs
    while (spawnSync(argv0, check, { env: given }).status !== 0) {
      const isLate = performance.now() > limit
      if (isLate || hasEnded(child)) {
        throw new Error(`${name} is not healthy:\n${log.slice(-20).join('\n')}`)
      }
      await sleep(500)
    }
  }
}

async function ended(child: ChildProcess, signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
  if (!hasEnded(child)) {
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
  return child.exitCode
}

function smallModel(): string {
  const source: unknown = parse(textOf('configs/shop.yaml'))
  const { config } = loadConfig({ environment: {}, overrides: smallShop.map(parseOverride) })
  return stringify({ ...(source as object), model: config.model })
}
