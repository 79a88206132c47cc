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
  const vector = async (): Promise<readonly number[]> => {
    const answer = await fetch(`${service.address}/v1/users/u1/embedding`)
    return ((await answer.json()) as { vector: number[] }).vector
  }
  await send(0, 300)
  const made = await client.runJob('checkpoint')
  expect(made.state).toBe('done')
  const { name } = made.result as { name: string }
  await send(300, 600)
  const later = await vector()

  const at = ['--address', service.address, '--json']
  const back = await run('rollback', name, ...at)
  expect([back.code, back.json]).toMatchObject([0, { state: 'done', result: { to: name } }])
  await expect.poll(vector, { timeout: 10_000 }).not.toEqual(later)
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
