/** `freshet export items` and `events`, of what a service has learned, and back in by `import`. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { npyDataOffset, parseNpyHeader } from '../../../src/embedding/exchange/npy.ts'
import { run } from '../../support/cli.ts'
import { Directory, smallConfig, startSmall } from '../small-service.ts'

interface Line {
  readonly id: string
  readonly embedding: readonly number[]
}

const linesOf = (file: string): Record<string, unknown>[] =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

test('vectors and restricts go out, events go out and in again', { timeout: 60_000 }, async () => {
  using folder = new Directory()
  const data = join(folder.path, 'data')
  const { service, client, settled } = await startSmall(smallConfig(data))
  await client.sendItems([
    {
      id: 'lamp',
      features: { title: 'Desk lamp', categories: ['light', 'desk'] },
      attributes: { price: 30, brand: 'Lux' },
      crowdingTag: 'lux',
    },
    { id: 'gone', hidden: true },
  ])
  const clicks = Array.from({ length: 200 }, (_, i) => ({
    userId: `u${i % 9}`,
    itemId: i % 13 === 0 ? 'lamp' : `i${i % 13}`,
    type: 'click',
  }))
  await client.sendEvents(clicks)
  await settled(200)
  // The last delta has come to whoever answers.
  const isUpToDate = async (): Promise<boolean> => {
    const { model } = await client.recommend('u1', { n: 1 })
    return model.version === (await client.metrics()).sum('freshet_trainer_steps_total')
  }
  await expect.poll(isUpToDate, { timeout: 20_000 }).toBe(true)
  const vectorOf = async (id: string): Promise<number[]> => {
    const answer = await fetch(`${service.address}/v1/items/${id}/embedding`)
    return ((await answer.json()) as { vector: number[] }).vector
  }
  const served = await Promise.all(['lamp', 'i7'].map(vectorOf))
  await service.stop()

  const to = join(folder.path, 'out')
  const said = await run('export', 'items', '--data', data, '--to', to, '--json')
  expect(said.json).toMatchObject({ items: 13, dim: served[0]?.length })
  const items = linesOf(join(to, 'items.ndjson')) as unknown as Line[]
  expect(items.find(({ id }) => id === 'lamp')).toMatchObject({
    restricts: [
      { namespace: 'title', allow: ['Desk lamp'] },
      { namespace: 'categories', allow: ['light', 'desk'] },
      { namespace: 'brand', allow: ['Lux'] },
    ],
    numeric_restricts: [{ namespace: 'price', value_double: 30 }],
    crowding_tag: 'lux',
  })
  for (const [i, id] of ['lamp', 'i7'].entries()) {
    const exported = items.find((item) => item.id === id)?.embedding ?? []
    // All but the last, which is popularity and decays.
    for (const [at, value] of exported.slice(0, -1).entries()) {
      expect(value).toBeCloseTo(served[i]?.[at] ?? Number.NaN, 4)
    }
  }

  const npy = ['--format', 'npy', '--data', data, '--to', to, '--json']
  expect((await run('export', 'items', ...npy)).code).toBe(0)
  const bytes = readFileSync(join(to, 'items.npy'))
  const offset = npyDataOffset(bytes)
  expect(parseNpyHeader(bytes.subarray(0, offset)).shape).toEqual([13, served[0]?.length])
  const ids = readFileSync(join(to, 'items-ids.ndjson'), 'utf8').trim().split('\n')
  const row = ids.map((id) => JSON.parse(id)).indexOf('i7')
  const floats = new Float32Array(bytes.buffer.slice(bytes.byteOffset + offset))
  const dim = served[0]?.length ?? 0
  expect(Array.from(floats.subarray(row * dim, (row + 1) * dim))).toEqual(
    items.find(({ id }) => id === 'i7')?.embedding.map(Math.fround),
  )

  const file = join(folder.path, 'events.ndjson')
  expect((await run('export', 'events', '--data', data, '--to', file, '--json')).json).toEqual(
    expect.objectContaining({ events: 202, from: '0', next: '202' }),
  )
  const again = join(folder.path, 'again')
  const taken = await run('import', file, '--no-sort', '--data', again, '--json')
  expect(taken.json).toMatchObject({ sent: 202, rejected: 0 })
  const copy = join(folder.path, 'copy.ndjson')
  await run('export', 'events', '--data', again, '--to', copy)
  const content = (path: string) =>
    linesOf(path).map((event) => Object.assign(event, { acceptedAt: 0, eventId: '' }))
  expect(content(copy)).toEqual(content(file))
  const tail = ['--from', '200', '--data', data, '--to', copy, '--json']
  expect((await run('export', 'events', ...tail)).json).toMatchObject({ events: 2, next: '202' })
})
