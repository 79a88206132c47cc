/**
 * Fetches a real Apache Kafka broker: its jars from Maven Central as kafka-broker.pom.xml names
 * them, kept under `node_modules/.cache`. Where Java or Maven is missing, Debian's packages are
 * installed if this is root. By hand: `node test/support/fetch-kafka.ts` prints the folder.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { cached } from './cache.ts'
import { installFromDebian } from './debian.ts'
import { programOnPath } from './programs.ts'

const pom = join(import.meta.dirname, 'kafka-broker.pom.xml')
const fetchLimitMs = 300_000
const oldestJava = 17

const packages = { java: 'default-jre-headless', mvn: 'maven' } as const

const run = (command: string, ...args: readonly string[]): string => {
  try {
    const options = { encoding: 'utf8', stdio: 'pipe', timeout: fetchLimitMs } as const
    return execFileSync(command, args, options)
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    const said = `${stdout ?? ''}${stderr ?? ''}`.trim().slice(-2_000)
    throw new Error(`no Kafka broker: ${command} failed: ${said}`, { cause: error })
  }
}

function requireProgram(program: keyof typeof packages): void {
  if (programOnPath(program) !== undefined) return
  const missing = `no Kafka broker: ${program} is not on the path; install ${packages[program]}`
  try {
    installFromDebian(packages[program])
  } catch (error) {
    throw new Error(missing, { cause: error })
  }
  if (programOnPath(program) === undefined) throw new Error(missing)
}

function requireJava(): void {
  requireProgram('java')
  const [, version = '0'] = /^openjdk (\d+)/.exec(run('java', '--version')) ?? []
  if (Number(version) >= oldestJava) return
  throw new Error(`no Kafka broker: it needs Java ${oldestJava}, this is ${version}`)
}

/** The folder of a broker's jars; throws where none can be had. */
export function kafkaJars(): string {
  requireJava()
  const [, version = ''] =
    /kafka_2\.13<\/artifactId>\s*<version>(.*?)</.exec(readFileSync(pom, 'utf8')) ?? []
  return cached(`kafka/${version}`, (folder) => {
    requireProgram('mvn')
    const flags = ['-DincludeScope=runtime', `-DoutputDirectory=${folder}`]
    run('mvn', '-B', '-ntp', '-q', '-f', pom, 'dependency:copy-dependencies', ...flags)
  })
}

if (import.meta.main) process.stdout.write(`${kafkaJars()}\n`)
