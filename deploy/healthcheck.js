/**
 * Whether the service of this container is ready: exit code 0, else 1. Asks the port that the
 * service was given, on loopback.
 */
import { env, exit } from 'node:process'

const port = env.FRESHET_HTTP_PORT ?? '8080'
const limitMs = 4_000

try {
  const answer = await fetch(`http://127.0.0.1:${port}/health/ready`, {
    signal: AbortSignal.timeout(limitMs),
  })
  exit(answer.ok ? 0 : 1)
} catch {
  exit(1)
}
