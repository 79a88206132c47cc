/** Versions of many processes: one list, and everybody answers and trains by it. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { checkpointStore } from '../../../src/app/newest-checkpoint.ts'
import type { ExperimentView } from '../../../src/serving/versions/versions-desk.ts'
import { eventuallyWithin, Fleet, type Member } from '../../support/fleet.ts'
import { makeTopic } from '../../support/kafka-server.ts'
import { brokerAndRedis } from '../../support/shared-servers.ts'
import { smallConfig } from '../small-service.ts'
import { type Answered, shopEvents, VersionsOverHttp } from './small-versions.ts'

const started = brokerAndRedis()

const limitMs = 120_000
const eventually = eventuallyWithin(limitMs)
const clicks = 600
const users = Array.from({ length: 30 }, (_, i) => `user-${i + 1}`)
const { model: bold } = smallConfig('unused', 'model.tables.user.optimizer.rate=0.5')

const versionsAt = ({ client }: Member): VersionsOverHttp => new VersionsOverHttp(client.address)

const isTaken = (i: number): boolean => i % 3 === 0

/** Each user does two things; some take an item of their list. */
const clicksOn = (answers: readonly Answered[]): readonly object[] =>
  answers.flatMap(({ items }, i) =>
    [isTaken(i) ? items[i % 10].id : 'elsewhere', 'nowhere'].map((itemId) => ({
      kind: 'interaction',
      userId: users[i],
      itemId,
      type: 'click',
    })),
  )

function outcomesOf(answers: readonly Answered[]): Readonly<Record<string, object>> {
  const taken = (name: string): number =>
    answers.filter(({ model }, i) => model.name === name && isTaken(i)).length
  const all = (name: string): number => answers.filter(({ model }) => model.name === name).length
  return Object.fromEntries(
    ['shop', 'bold'].map((name) => {
      const hits = taken(name)
      return [name, { version: name, answersTaken: hits, interactions: 2 * all(name), hits }]
    }),
  )
}

test('a version learns beside the first, and every replica follows split and promotion', async () => {
  const topic = await makeTopic(started().broker.address, 2)
  const servers = {
    broker: started().broker.address,
    topic,
    redis: `redis://127.0.0.1:${started().redis.port}`,
  }
  await using fleet = new Fleet(servers)
  const [first, one, two] = await Promise.all([
    fleet.start('trainer 1', 'trainer', ['process.versions.only=shop']),
    fleet.start('serving 1', 'ingest,serving'),
    fleet.start('serving 2', 'serving,jobs'),
  ])
  await one.client.sendEvents(shopEvents(clicks))
  const [here, there] = [versionsAt(one), versionsAt(two)]
  for (const desk of [here, there]) await desk.ready('shop', 512)
  const everywhere = (what: string, isSo: (names: readonly string[]) => boolean): Promise<void> =>
    eventually(fleet, what, async () => {
      const [a, b] = await Promise.all([here.namesFor(users), there.namesFor(users)])
      return isSo(a) && a.join() === b.join()
    })

  await here.ask('POST', '/v1/admin/versions', { name: 'bold', model: bold })
  // A trainer of its own; its configuration says the first's model, the list says which it is.
  const isThere = async (): Promise<boolean> => (await there.one('bold')).state === 'warming'
  await eventually(fleet, 'known', isThere)
  await expect(there.ask('POST', '/v1/admin/versions/bold/promote')).rejects.toThrow(/NOT_READY/)
  const second = await fleet.start('trainer 2', 'trainer', ['process.versions.only=bold'])
  for (const desk of [here, there]) {
    const { evaluation, differs } = await desk.ready('bold', 512)
    expect(evaluation?.model.evaluated).toBeGreaterThan(0)
    expect(differs).not.toEqual([])
  }
  const asked = (desk: VersionsOverHttp, method: string, action: string, body?: object) =>
    eventually(fleet, `${method} ${action}`, () =>
      desk.ask(method, `/v1/admin/versions/bold${action}`, body).then(Boolean),
    )
  await asked(here, 'PATCH', '', { percent: 50 })
  await everywhere('the split', (names) => new Set(names).size === 2)

  // What comes of the answers of both replicas is counted, though who counts is killed.
  const took = await Promise.all(users.map((user, i) => [here, there][i % 2].recommend(user)))
  const expected = outcomesOf(took)
  await one.client.sendEvents(clicksOn(took))
  await first.end('SIGKILL')
  for (const desk of [here, there]) {
    await eventually(fleet, 'counts', async () => {
      const { versions, dropped } = await desk.ask<ExperimentView>('GET', '/v1/admin/experiment')
      expect(versions).toMatchObject(versions.map(({ version }) => expected[version]))
      return versions.length === 2 && dropped === 0
    })
  }
  const { requestId } = took[0]
  const path = `/v1/admin/experiment/answers?requestId=${requestId}`
  expect(await there.ask('GET', path)).toMatchObject({ answers: [{ requestId }] })

  await asked(there, 'POST', '/promote')
  await everywhere('the promotion', (names) => names.every((name) => name === 'bold'))
  // Jobs are of the version that answers.
  const { result } = await two.client.runJob('checkpoint')
  const [folder = ''] = readdirSync(join(fleet.trainerDirectory, 'versions'))
  expect(folder).toMatch(/^bold-/)
  const kept = checkpointStore(join(fleet.trainerDirectory, 'versions', folder)).list()
  expect(kept.map(({ sequence }) => String(sequence))).toContain(result?.['name'])
  await here.ask('POST', '/v1/admin/versions/rollback')
  await everywhere('the way back', (names) => names.every((name) => name === 'shop'))

  await here.ask('DELETE', '/v1/admin/versions/bold')
  expect(await second.ended).toBe(1)
  await eventually(fleet, 'its end', async () => (await there.view()).versions.length === 1)
}, 240_000)
