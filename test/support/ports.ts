/** Ports for servers of tests. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { env, pid } from 'node:process'

const host = '127.0.0.1'
// Below what the system gives to outgoing connections (32,768 up on Linux): a server that is killed
// and started again must find its port, whatever connects meanwhile. Each worker has a span of its own,
// and what a Redis cluster opens 10,000 above stays below too.
const lowest = 12_000
const span = 2_000
const spans = 5
const worker = Number(env['VITEST_POOL_ID'] ?? pid) % spans
let next = pid % span

/** A port that nobody listens on now, and that this process does not give again soon. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < span; tried += 1) {
    const port = lowest + worker * span + next
    next = (next + 1) % span
    const server = createServer()
    try {
      server.listen(port, host)
      await once(server, 'listening')
      server.close()
      await once(server, 'close')
      return port
    } catch {
      // Taken.
    }
  }
  throw new Error(`no free port from ${lowest + worker * span} on`)
}
