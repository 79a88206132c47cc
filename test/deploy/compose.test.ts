/** The compose file and the image: what they say is what the service takes. */
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { DCLinter } from 'dclint'
import { describe, expect, test } from 'vitest'

import { loadConfig } from '../../src/app/config/config.ts'
import {
  compose,
  dockerfile,
  environmentOf,
  imageEnvironment,
  jsonOf,
  root,
  textOf,
} from '../support/deployment.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const { services, volumes } = compose()
const ours = Object.entries(services).filter(([, { image }]) => image.startsWith('freshet:'))

const roleOf = ({ command = [] }: (typeof services)[string]): string =>
  command[command.indexOf('--role') + 1] ?? ''

interface LintedFile {
  readonly messages: readonly { readonly line: number; readonly message: string }[]
}

/** The schema of Compose and what else its linter knows, but for orders of names. */
function complaintsOf(file: string): readonly string[] {
  const rules = {
    'no-quotes-in-volumes': 0,
    'service-keys-order': 0,
    'services-alphabetical-order': 0,
    'top-level-properties-order': 0,
  } as const
  const linter = new DCLinter({ rules, quiet: false, debug: false, exclude: [] })
  // Its types do not resolve here.
  const results: readonly LintedFile[] = linter.lintFiles([resolve(root, file)], false)
  return results.flatMap(({ messages }) =>
    messages.map(({ line, message }) => `${line}: ${message}`),
  )
}

describe('docker-compose.yml', () => {
  test('is what the specification of Compose describes', () => {
    expect(complaintsOf('docker-compose.yml')).toEqual([])
  })

  test('is refused where a name is wrong', () => {
    using folder = temporaryDirectory()
    const file = join(folder.path, 'compose.yml')
    writeFileSync(file, textOf('docker-compose.yml').replace('healthcheck:', 'heathcheck:'))
    expect(complaintsOf(file)[0]).toMatch(/heathcheck|additional/)
  })

  test('has the servers without a profile, and every role in the profile app', () => {
    const servers = Object.entries(services).filter(([, { profiles }]) => profiles === undefined)
    expect(servers.map(([name]) => name).toSorted()).toEqual(['kafka', 'redis', 'topics'])
    expect(ours.every(([, { profiles }]) => profiles?.includes('app'))).toBe(true)
    const roles = ours.flatMap(([, service]) =>
      Array.from({ length: service.deploy?.replicas ?? 1 }, () => roleOf(service)),
    )
    expect(roles.toSorted()).toEqual(['ingest', 'jobs', 'serving', 'serving', 'trainer', 'trainer'])
  })

  test('images of others have a whole version, volumes and services are there', () => {
    for (const { image, volumes: mounts, depends_on: needs = {} } of Object.values(services)) {
      expect(image).toMatch(/:\d+\.\d+\.\d+(-\w+)?$/)
      for (const mount of mounts) expect(Object.keys(volumes)).toContain(mount.split(':')[0])
      for (const [name, { condition }] of Object.entries(needs)) {
        const isChecked = services[name].healthcheck !== undefined
        expect(condition).toBe(isChecked ? 'service_healthy' : 'service_completed_successfully')
      }
    }
    const { version }: { version: string } = JSON.parse(textOf('package.json'))
    for (const [, { image }] of ours) expect(image).toBe(`freshet:${version}`)
  })

  test('what is published is on loopback', () => {
    const ports = Object.values(services).flatMap((service) => service.ports)
    expect(ports.length).toBeGreaterThan(4)
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/)
  })

  test.each(ours)('the variables of %s are a configuration', (_, service) => {
    const variables = { ...imageEnvironment(), ...environmentOf(service) }
    const { config } = loadConfig({
      environment: variables,
      overrides: [{ path: ['process', 'roles'], value: [roleOf(service)], source: 'the command' }],
    })
    const { kafka, redis, http, shape, dataDirectory } = config.process
    expect(shape).toBe('distributed')
    const server = new URL(redis.url ?? '')
    expect(services[server.hostname]).toBeDefined()
    expect(server.port).toBe('6379')
    const listeners = String(services['kafka']?.environment['KAFKA_LISTENERS'])
    for (const broker of kafka.brokers) {
      const [host = '', number] = broker.split(':')
      expect(services[host]).toBeDefined()
      expect(listeners).toContain(`INSIDE://:${number}`)
    }
    expect(http.host).toBe('0.0.0.0')
    for (const port of service.ports) expect(port).toMatch(new RegExp(`:${http.port}$`))
    for (const mount of service.volumes) expect(mount.split(':')[1]).toBe(dataDirectory)
    for (const topic of [kafka.topic, kafka.deadLettersTopic]) {
      expect(services['topics']?.command?.[0]).toContain(`topic ${topic} `)
    }
  })

  test('the script that makes the topics is one of a shell', () => {
    const script = services['topics']?.command?.[0]?.replaceAll('$$', '$') ?? ''
    const said = execFileSync(
      '/bin/sh',
      ['-ec', script.replaceAll(/\S*kafka-topics.sh/g, 'echo')],
      {
        encoding: 'utf8',
      },
    )
    const lines = said.trim().split('\n')
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatch(/--topic freshet-events --partitions 4 .*--config retention.ms=\d+$/)
  })

  test('trainer and standby are alike, and replicas cannot write where they do', () => {
    expect(services['standby']).toEqual(services['trainer'])
    expect(services['serving']?.volumes).toEqual(['trainer:/var/lib/freshet:ro'])
  })
})

describe('the image', () => {
  test('is of the version of Node that is tested with, and runs as nobody special', () => {
    const { devDependencies }: { devDependencies: Record<string, string> } = JSON.parse(
      textOf('package.json'),
    )
    const bases = dockerfile().filter(([name]) => name === 'FROM')
    for (const [, base] of bases) expect(base).toContain(`node:${devDependencies['node']}-slim`)
    expect(dockerfile().findLast(([name]) => name === 'USER')?.[1]).toMatch(/^[1-9]\d*:[1-9]\d*$/)
  })

  test('copies what there is, and .dockerignore lets it through', () => {
    const allowed = textOf('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1))
    const copied = dockerfile()
      .filter(([name, text]) => name === 'COPY' && !text.includes('--from'))
      .flatMap(([, text]) => text.split(' ').slice(0, -1))
    expect(copied.length).toBeGreaterThan(8)
    for (const path of copied) {
      expect(existsSync(join(root, path))).toBe(true)
      expect(allowed).toContain(path)
    }
  })

  test('health checks ask with the program that the image has', () => {
    const check = jsonOf('HEALTHCHECK')
    expect(check).toEqual(['node', '/app/healthcheck.js'])
    for (const [, { healthcheck }] of ours) expect(healthcheck?.test).toEqual(['CMD', ...check])
    expect(imageEnvironment()).toHaveProperty('FRESHET_HTTP_PORT')
  })

  test('the version of Node that starts it takes its flags', () => {
    const [node, ...flags] = jsonOf('ENTRYPOINT')
    expect(node).toBe('node')
    expect(flags.at(-1)).toBe('/app/dist/app/cli.js')
    const { bin }: { bin: { freshet: string } } = JSON.parse(textOf('package.json'))
    expect(flags.at(-1)).toBe(`/app/${bin.freshet}`)
  })
})
