import { expect, test } from 'vitest'

import { createFreshet, ServiceError } from '../../src/app/freshet.ts'
import { Directory } from './small-service.ts'

const clicks = Array.from({ length: 200 }, (_, i) => ({
  kind: 'interaction' as const,
  userId: `user-${i % 10}`,
  itemId: `item-${(i * 7) % 20}`,
  type: 'click',
}))

const open = (dataDirectory: string) =>
  createFreshet({
    dataDirectory,
    process: { jobs: { auditRecallMs: 0 }, logging: { level: 'warn' } },
    onLog: () => undefined,
  })

test('a program has the whole service within itself: it learns, and reads its own writes', async () => {
  using directory = new Directory()
  {
    await using freshet = await open(directory.path)
    expect(freshet.address).toBe('')
    await freshet.ready()
    const bad = { kind: 'interaction' as const, userId: '', itemId: 'i', type: 'click' }
    const appended = await freshet.append([...clicks, bad])
    expect(appended).toMatchObject({ accepted: 200, rejected: [{ index: 200, path: 'userId' }] })
    const answer = await freshet.recommend({
      userId: 'user-1',
      n: 20,
      minSequence: appended.offset,
    })
    const had = freshet.user('user-1')?.history.map(({ itemId }) => itemId) ?? []
    expect(had).toEqual(['item-17', 'item-7'])
    expect(answer.items.map(({ id }) => id).toSorted()).toHaveLength(18)
    expect(answer.items.map(({ id }) => id)).not.toContain('item-17')
    await expect.poll(() => freshet.status().trainer?.examples).toBeGreaterThan(100)
    expect((await freshet.similar({ itemId: 'item-3', n: 3 })).items).toHaveLength(3)
    expect(freshet.items(5).items).toHaveLength(5)
    expect(await freshet.runJob('checkpoint')).toMatchObject({ state: 'done' })
  }
  // What was learned is there when it is opened again.
  await using again = await open(directory.path)
  await again.ready()
  expect(again.item('item-3')?.id).toBe('item-3')
  expect(again.user('user-1')?.seen).toBe(2)
})

test('what is wrong is told as over HTTP', async () => {
  using directory = new Directory()
  const wrong = { dataDirectory: directory.path, process: { http: { port: -1 } } }
  await expect(createFreshet(wrong)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  await using freshet = await open(directory.path)
  await freshet.ready()
  await expect(freshet.recommend({ userId: 'u', n: 0 })).rejects.toThrow(ServiceError)
  await expect(freshet.similar({ itemId: 'nothing', n: 1 })).rejects.toMatchObject({
    code: 'ITEM_UNKNOWN',
  })
  await expect(open(directory.path)).rejects.toMatchObject({ code: 'LOG_LOCKED' })
})

test('it listens as well where it is told to', async () => {
  using directory = new Directory()
  await using freshet = await createFreshet({
    dataDirectory: directory.path,
    process: { http: { port: 0 }, jobs: { auditRecallMs: 0 } },
    listens: true,
    onLog: () => undefined,
  })
  expect((await fetch(`${freshet.address}/health/live`)).status).toBe(200)
})
