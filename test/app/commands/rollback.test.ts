import { expect, test } from 'vitest'

import { run } from '../../support/cli.ts'
import { Directory, smallConfig, startSmall } from '../small-service.ts'

test('rollback takes the model back to a checkpoint, and events stay', async () => {
  using folder = new Directory()
  const { service, client, settled } = await startSmall(smallConfig(folder.path))
  const send = async (from: number, to: number): Promise<void> => {
    const clicks = Array.from({ length: to - from }, (_, i) => ({
      userId: `u${i % 5}`,
      itemId: `i${i % 7}`,
      type: 'click',
    }))
    await client.sendEvents(clicks)
    await settled(to)
  }
  /** Of an item, without its popularity: what the parameters alone decide. */
  const vector = async (): Promise<readonly number[]> => {
    const answer = await fetch(`${service.address}/v1/items/i1/embedding`)
    return ((await answer.json()) as { vector: number[] }).vector.slice(0, -1)
  }
  /** When every delta has come: the model is that of all steps. */
  const current = async (): Promise<readonly number[]> => {
    const steps = (await client.metrics()).sum('freshet_trainer_steps_total')
    const version = async () => (await client.recommend('u1', { n: 1 })).model.version
    await expect.poll(version, { timeout: 10_000 }).toBe(steps)
    return vector()
  }
  await send(0, 300)
  const before = await current()
  const made = await client.runJob('checkpoint')
  expect(made.state).toBe('done')
  const { name } = made.result as { name: string }
  await send(300, 600)
  expect(await current()).not.toEqual(before)

  const at = ['--address', service.address, '--json']
  const back = await run('rollback', name, ...at)
  expect([back.code, back.json]).toMatchObject([0, { state: 'done', result: { to: name } }])
  await expect.poll(vector, { timeout: 10_000 }).toEqual(before)
  const status = (await (await fetch(`${service.address}/v1/status`)).json()) as {
    trainer: { events: number }
  }
  expect(status.trainer.events).toBe(600)

  const nowhere = await run('rollback', '123456', ...at)
  expect(nowhere.code).toBe(1)
  expect(nowhere.err.join()).toContain('123456')
  expect((await run('rollback', 'newest', ...at)).code).toBe(2)
  await service.stop()
})
