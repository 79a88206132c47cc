import { afterAll, beforeAll } from 'vitest'

import { testParameterSync } from '../../contract/parameter-sync.ts'
import { anyServer } from '../../support/redis-server.ts'
import { openRedisSync } from '../../support/redis-sync.ts'

let server: Awaited<ReturnType<typeof anyServer>>
beforeAll(async () => {
  server = await anyServer()
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
})

testParameterSync(() => openRedisSync(server.settings), 12)
