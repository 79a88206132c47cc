/** Work that goes on while it is wanted. */
import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { WhileWanted, type WantedWork } from '../../src/base/while-wanted.ts'

/** Says what happens, in order; a run takes a turn to end. */
class Workshop {
  readonly said: string[] = []
  readonly troubles: unknown[] = []
  readonly loop: WhileWanted
  isWanted = false
  runs = 0
  mostRuns = 0

  constructor(work: Partial<WantedWork> = {}) {
    this.loop = new WhileWanted({
      isWanted: () => this.isWanted,
      begin: () => this.#say('begins'),
      run: (signal) => this.#run(signal),
      onTrouble: (error) => this.troubles.push(error),
      ...work,
    })
  }

  want(isWanted: boolean): Promise<void> {
    this.isWanted = isWanted
    return this.loop.follow()
  }

  #say(what: string): Promise<void> {
    this.said.push(what)
    return Promise.resolve()
  }

  async #run(signal: AbortSignal): Promise<void> {
    this.runs += 1
    this.mostRuns = Math.max(this.mostRuns, this.runs)
    if (!signal.aborted) await once(signal, 'abort')
    await this.#say('ends')
    this.runs -= 1
  }
}

test('it begins, ends and begins again as it is wanted, one run at a time', async () => {
  const shop = new Workshop()
  await shop.want(false)
  expect([shop.loop.isRunning, shop.said]).toEqual([false, []])
  await shop.want(true)
  await shop.want(true)
  expect([shop.loop.isRunning, shop.said]).toEqual([true, ['begins']])
  const ended = shop.want(false)
  expect(shop.loop.isRunning).toBe(false)
  await ended
  expect(shop.said).toEqual(['begins', 'ends'])
  await shop.want(true)
  expect([shop.loop.isRunning, shop.said]).toEqual([true, ['begins', 'ends', 'begins']])
  await shop.loop.stop()
  await shop.loop.follow()
  expect([shop.loop.isWanted, shop.loop.isRunning]).toEqual([false, false])
  expect(shop.said).toEqual(['begins', 'ends', 'begins', 'ends'])
})

test('a change of mind while it ends, or has yet to begin, has the last word', async () => {
  const shop = new Workshop()
  await Promise.all([shop.want(true), shop.want(false)])
  expect(shop.said).toEqual([])
  await Promise.all([shop.want(true), shop.want(false), shop.want(true)])
  expect([shop.loop.isRunning, shop.runs]).toEqual([true, 1])
  await Promise.all([shop.want(false), shop.want(true)])
  expect([shop.loop.isRunning, shop.runs]).toEqual([true, 1])
  await Promise.all([shop.want(false), shop.loop.stop()])
  expect([shop.runs, shop.mostRuns]).toEqual([0, 1])
})

test('what could not begin, or has ended by itself, is said and begins again', async () => {
  const failures = [new Error('no beginning'), new Error('no end')]
  const shop = new Workshop({
    begin: () => (failures.length === 2 ? Promise.reject(failures.shift()) : Promise.resolve()),
    async run(signal) {
      await (failures.length === 1 ? Promise.reject(failures.shift()) : once(signal, 'abort'))
    },
  })
  await shop.want(true)
  expect([shop.loop.isRunning, shop.troubles.map(String)]).toEqual([false, ['Error: no beginning']])
  await shop.loop.follow()
  await nextTurn()
  expect([shop.loop.isRunning, shop.troubles.length]).toEqual([false, 2])
  await shop.loop.follow()
  expect([shop.loop.isRunning, shop.troubles.length]).toEqual([true, 2])
  await shop.loop.stop()
  expect(shop.troubles.map(String)).toEqual(['Error: no beginning', 'Error: no end'])
})
