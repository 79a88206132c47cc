/**
 * The Redis of a benchmark: the one whose address is given, or one of the benchmark's own, started
 * from a program on the PATH, without files, and gone with it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'

import { ServiceError } from '../../base/errors.ts'
import { connectRedis, type RedisSettings } from '../../redis/redis-connection.ts'

export interface BenchRedis extends AsyncDisposable {
  readonly settings: RedisSettings
}

const host = '127.0.0.1'
const startLimitMs = 10_000
const programs = ['redis-server', 'valkey-server']

/** Throws `USAGE_INVALID` where there is neither an address nor a server that starts. */
export async function benchRedis(given: RedisSettings | undefined): Promise<BenchRedis> {
  if (given === undefined) return await startOwn()
  return { settings: given, [Symbol.asyncDispose]: () => Promise.resolve() }
}

async function startOwn(): Promise<BenchRedis> {
  const port = await freePort()
  const child = await spawnServer(port)
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  // Also when the benchmark is interrupted.
  process.once('exit', () => child.kill('SIGKILL'))
  const settings: RedisSettings = { mode: 'standalone', addresses: [{ host, port }] }
  const connection = connectRedis(settings)
  try {
    await connection.connected(AbortSignal.timeout(startLimitMs))
  } catch (error) {
    await stop()
    throw unusable(`the server of the PATH did not start: ${String(error)}`)
  } finally {
    connection.close()
  }
  return { settings, [Symbol.asyncDispose]: stop }
}

/** The first of the programs that there is. */
async function spawnServer(port: number): Promise<ChildProcess> {
  const address = ['--bind', host, '--port', String(port), '--dir', tmpdir()]
  const flags = [...address, '--save', '', '--appendonly', 'no']
  for (const program of programs) {
    const child = spawn(program, flags, { stdio: 'ignore' })
    try {
      await once(child, 'spawn')
      return child
    } catch {
      // There is no such program.
    }
  }
  throw unusable(`there is no ${programs.join(' or ')} on the PATH`)
}

const unusable = (reason: string): ServiceError =>
  new ServiceError('USAGE_INVALID', {
    what: 'freshet bench table',
    reason: `${reason}; give the address of a server: --redis redis://host:port`,
  })

async function freePort(): Promise<number> {
  const server = createServer().listen(0, host)
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
