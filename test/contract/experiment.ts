/** What every record of an experiment must do: count once, whoever is killed, and forget. */
import { expect, test } from 'vitest'

import type {
  ExperimentDesk,
  ExperimentView,
  GivenAnswer,
} from '../../src/serving/versions/versions-desk.ts'
import type { Event } from '../../src/stream/event.ts'
import { until } from '../support/redis-server.ts'

export interface ExperimentUnderTest extends AsyncDisposable {
  /** Whom answers may be told to, one for each process that answers. */
  readonly desks: readonly ExperimentDesk[]
  append(events: readonly Event[]): Promise<void>
  /** Kills whoever counts in the middle of it, and lets another one go on. */
  killCounter(): Promise<void>
}

export type OpenExperiment = () => Promise<ExperimentUnderTest>

const items = (...ids: readonly string[]) => ids.map((id) => ({ id }))

let requests = 0
const answer = (userId: string, version: string, ...ids: readonly string[]): GivenAnswer => ({
  requestId: `request-${(requests += 1)}`,
  userId,
  version,
  items: items(...ids),
})

const now = (): { readonly timestamp: number; readonly acceptedAt: number } => ({
  timestamp: Date.now(),
  acceptedAt: Date.now(),
})

const click = (userId: string, itemId: string, type = 'click'): Event => ({
  kind: 'interaction',
  userId,
  itemId,
  type,
  ...now(),
})

const rowsOf = ({ versions }: ExperimentView) =>
  Object.fromEntries(
    versions.map(({ version, answers, answersTaken, interactions, hits }) => [
      version,
      { answers, answersTaken, interactions, hits },
    ]),
  )

/** Waits until all processes have counted so many answers and interactions. */
async function counted(
  { desks }: ExperimentUnderTest,
  answers: number,
  interactions: number,
): Promise<ReturnType<typeof rowsOf>> {
  await until(`${answers} answers, ${interactions} interactions`, () =>
    desks.every((desk) => {
      const rows = Object.values(rowsOf(desk.report()))
      const sum = (of: 'answers' | 'interactions') => rows.reduce((n, row) => n + row[of], 0)
      return sum('answers') === answers && sum('interactions') === interactions
    }),
  )
  return rowsOf(desks[0].report())
}

export function testExperiment(open: OpenExperiment): void {
  test('answers are counted, and what came of them, over all that answer', async () => {
    await using subject = await open()
    const { desks } = subject
    desks[0].answered(answer('u', 'a', 'x', 'y'))
    desks.at(-1)?.answered(answer('v', 'b', 'x', 'z'))
    await counted(subject, 2, 0)
    await subject.append([click('u', 'y'), click('u', 'q'), click('v', 'q'), click('w', 'x')])
    const rows = await counted(subject, 2, 3)
    expect(rows).toEqual({
      a: { answers: 1, answersTaken: 1, interactions: 2, hits: 1 },
      b: { answers: 1, answersTaken: 0, interactions: 1, hits: 0 },
    })
    expect(desks[0].report()).toMatchObject({ recording: true, forgotten: 0, dropped: 0 })
    expect(desks[0].report().countedAt).toBeGreaterThan(0)
  })

  test('whoever counts is killed, and nothing is lost or counted twice', async () => {
    await using subject = await open()
    const { desks } = subject
    desks[0].answered(answer('u', 'a', 'x', 'y'))
    desks[0].answered(answer('v', 'b', 'x'))
    await counted(subject, 2, 0)
    await subject.append([click('u', 'x')])
    await counted(subject, 2, 1)
    await subject.killCounter()
    await subject.append([click('u', 'y'), click('v', 'x')])
    expect(await counted(subject, 2, 3)).toEqual({
      // The first of the list had been taken before the kill.
      a: { answers: 1, answersTaken: 1, interactions: 2, hits: 2 },
      b: { answers: 1, answersTaken: 1, interactions: 1, hits: 1 },
    })
  })

  test('who answered whom is told, the newest first', async () => {
    await using subject = await open()
    const { desks } = subject
    const [first, second] = [answer('u', 'a', 'x'), answer('u', 'b', 'y')]
    desks[0].answered(first)
    await counted(subject, 1, 0)
    desks.at(-1)?.answered(second)
    desks.at(-1)?.answered(answer('v', 'b', 'y'))
    await counted(subject, 3, 0)
    const found = await desks[0].answers(10, { userId: 'u' })
    expect(found.map(({ requestId }) => requestId)).toEqual([second.requestId, first.requestId])
    expect(found[0]).toMatchObject({ version: 'b', items: ['y'] })
    expect(JSON.stringify(found)).not.toContain('"u"')
    const { requestId } = first
    expect(await desks.at(-1)?.answers(10, { requestId })).toMatchObject([{ version: 'a' }])
    expect(await desks[0].answers(2, {})).toHaveLength(2)
  })

  test('a user that is deleted is forgotten, also by who counts next', async () => {
    await using subject = await open()
    const { desks } = subject
    desks[0].answered(answer('u', 'a', 'x'))
    desks[0].answered(answer('v', 'a', 'x'))
    await counted(subject, 2, 0)
    await subject.append([{ kind: 'deleteUser', userId: 'u', ...now() }])
    await subject.append([click('v', 'q')])
    await counted(subject, 2, 1)
    await subject.killCounter()
    await subject.append([click('u', 'x'), click('v', 'x')])
    expect(await counted(subject, 2, 2)).toEqual({
      a: { answers: 2, answersTaken: 1, interactions: 2, hits: 1 },
    })
    expect(await desks[0].answers(10, { userId: 'u' })).toEqual([])
  })

  test('what is of a type that does not count says nothing', async () => {
    await using subject = await open()
    subject.desks[0].answered(answer('u', 'a', 'x'))
    await counted(subject, 1, 0)
    await subject.append([click('u', 'x', 'view'), click('u', 'x')])
    expect(await counted(subject, 1, 1)).toEqual({
      a: { answers: 1, answersTaken: 1, interactions: 1, hits: 1 },
    })
  })
}
