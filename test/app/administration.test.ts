import { hash } from 'node:crypto'
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { Directory, smallConfig, startSmall } from './small-service.ts'

const asked = async (address: string, path: string, key?: string) => {
  const headers: Record<string, string> = key === undefined ? {} : { 'x-api-key': key }
  const answer = await fetch(address + path, { headers })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

test('operators see tables, checkpoints, the index and what was refused', async () => {
  using directory = new Directory()
  const { service, client, settled } = await startSmall(smallConfig(directory.path))
  try {
    await client.sendEvents(
      Array.from({ length: 200 }, (_, i) => ({
        userId: `u${i % 10}`,
        itemId: `i${i % 20}`,
        type: 'click',
      })),
    )
    await settled(100)
    const tables = await asked(service.address, '/v1/admin/tables')
    expect(tables.body['tables']).toContainEqual(
      expect.objectContaining({ name: 'item', capacityRows: 4096, dim: expect.any(Number) }),
    )
    expect(await asked(service.address, '/v1/admin/index')).toMatchObject({
      status: 200,
      body: { index: { items: 20 }, queues: { new: 0 }, versions: {} },
    })
    const run = await client.runJob('checkpoint')
    const { checkpoints } = (await asked(service.address, '/v1/admin/checkpoints')).body
    expect(checkpoints).toMatchObject([{ name: run.result?.['name'], offsets: { 0: '200' } }])
    const quarantine = join(directory.path, 'quarantine')
    mkdirSync(quarantine, { recursive: true })
    writeFileSync(join(quarantine, 'batch-000000000007.json'), '{"step":7,"trip":{}}')
    mkdirSync(join(directory.path, 'rejects'), { recursive: true })
    const letters = join(directory.path, 'rejects', 'dead-letters.ndjson')
    for (const offset of ['1', '2']) appendFileSync(letters, `{"offset":"${offset}"}\n`)
    expect((await asked(service.address, '/v1/admin/dead-letters?limit=1')).body).toMatchObject({
      batches: [{ name: 'batch-000000000007.json', bytes: 20 }],
      letters: [{ offset: '2' }],
    })
    const one = '/v1/admin/dead-letters/batch-000000000007.json'
    expect((await asked(service.address, one)).body).toEqual({ step: 7, trip: {} })
    for (const name of ['batch-1.json', '..%2F..%2Flog', '%2e%2e']) {
      const { status, body } = await asked(service.address, `/v1/admin/dead-letters/${name}`)
      expect([status, body['error']]).toMatchObject([404, {}])
    }
  } finally {
    await service.stop()
  }
})

test('the configuration is shown without what is secret, and to administrators alone', async () => {
  using directory = new Directory()
  const [reader, admin] = ['a-reader', 'an-administrator']
  const keys = JSON.stringify([
    { name: 'reader', sha256: hash('sha256', reader), scopes: ['read'] },
    { name: 'admin', sha256: hash('sha256', admin), scopes: ['admin'] },
  ])
  const secrets = [
    'process.redis.url=redis://user:hidden-1@localhost:1',
    'process.tables.redis.password=hidden-2',
    'process.kafka.sasl={"mechanism":"plain","username":"u","password":"hidden-3"}',
  ]
  const config = smallConfig(directory.path, `process.http.apiKeys=${keys}`, ...secrets)
  const { service } = await startSmall(config)
  try {
    const { address } = service
    expect((await asked(address, '/v1/admin/config')).status).toBe(401)
    expect((await asked(address, '/v1/admin/config', reader)).status).toBe(403)
    const { status, body } = await asked(address, '/v1/admin/config', admin)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      model: { name: config.model.name },
      process: { http: { apiKeys: [{ name: 'reader', sha256: '***' }, { name: 'admin' }] } },
    })
    const text = JSON.stringify(body)
    expect(text).not.toContain('hidden')
    expect(text).not.toContain(hash('sha256', reader))
  } finally {
    await service.stop()
  }
})
