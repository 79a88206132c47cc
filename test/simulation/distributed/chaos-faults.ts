/**
 * What goes wrong in a run of the crash test of many processes. Each fault ends by itself: who was
 * killed is started again, what was cut is joined, what was slow is quick.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { type Random, seededRandom } from '../../../src/base/random.ts'
import type { Cut } from '../../support/network-link.ts'
import type { ChaosFleet } from './chaos-fleet.ts'
import type { ChaosMember } from './chaos-member.ts'
import { type ChaosServers, memberNames } from './chaos-servers.ts'

export interface Scene {
  readonly fleet: ChaosFleet
  readonly servers: ChaosServers
  readonly random: Random
}

const pick = <Value>(random: Random, values: readonly Value[]): Value => {
  const found = values[random.integer(values.length)]
  if (found === undefined) throw new Error('nothing to choose from')
  return found
}

const between = (random: Random, least: number, most: number): number =>
  least + random.integer(most - least)

/** A replica may die while the other one answers. */
async function killReplica({ fleet, random }: Scene): Promise<void> {
  const victim = pick(random, fleet.replicas)
  const survivors = fleet.replicas.filter((replica) => replica !== victim)
  while (!survivors.every(({ life }) => life.hasBeenReady && !life.isEnded)) await sleep(50)
  await victim.kill()
}

const someTrainer = async ({ fleet, random }: Scene): Promise<ChaosMember> =>
  (await fleet.activeTrainer()) ?? pick(random, fleet.trainers)

async function killBroker({ servers, random }: Scene): Promise<void> {
  await servers.broker.kill()
  await sleep(between(random, 0, 1_000))
  await servers.broker.start()
}

async function killRedis({ servers, random }: Scene): Promise<void> {
  await servers.redis.kill()
  await sleep(between(random, 0, 2_000))
  await servers.redis.start()
}

async function killStore({ servers, random }: Scene): Promise<void> {
  await servers.store?.kill()
  await sleep(between(random, 0, 2_000))
  await servers.store?.start()
}

/** Longer than the lease lasts: another one has taken over by then. */
async function pauseTrainer(scene: Scene): Promise<void> {
  const { service } = (await someTrainer(scene)).life
  service.pause()
  await sleep(between(scene.random, 2_500, 4_500))
  service.resume()
}

async function pauseServer(
  server: { readonly pause: () => void; readonly resume: () => void },
  random: Random,
): Promise<void> {
  server.pause()
  await sleep(between(random, 500, 3_500))
  server.resume()
}

async function cutNetwork({ servers, random }: Scene, how: Cut): Promise<void> {
  const link = pick(random, servers.allLinks)
  link.cut(how)
  await sleep(between(random, 500, 4_000))
  link.heal()
}

/** Far away for everybody. */
async function slowServer({ servers, random }: Scene, server: 'broker' | 'redis'): Promise<void> {
  const links = memberNames.map((name) => servers.links(name)[server])
  for (const link of links) link.slowDown(between(random, 20, 300))
  await sleep(between(random, 1_000, 3_000))
  for (const link of links) link.heal()
}

/** `kills`: how many processes are killed by it. */
interface Fault {
  readonly kills: 0 | 1
  readonly strike: (scene: Scene) => Promise<void>
}

export const faults = {
  killTrainer: { kills: 1, strike: async (scene) => (await someTrainer(scene)).kill() },
  killReplica: { kills: 1, strike: killReplica },
  killIngest: { kills: 1, strike: ({ fleet }) => fleet.member('ingest').kill() },
  killJobs: { kills: 1, strike: ({ fleet }) => fleet.member('jobs').kill() },
  killBroker: { kills: 1, strike: killBroker },
  killRedis: { kills: 1, strike: killRedis },
  /** Only where checkpoints are in a bucket. */
  killStore: { kills: 1, strike: killStore },
  pauseTrainer: { kills: 0, strike: pauseTrainer },
  pauseBroker: { kills: 0, strike: ({ servers, random }) => pauseServer(servers.broker, random) },
  pauseRedis: { kills: 0, strike: ({ servers, random }) => pauseServer(servers.redis, random) },
  resetNetwork: { kills: 0, strike: (scene) => cutNetwork(scene, 'reset') },
  silenceNetwork: { kills: 0, strike: (scene) => cutNetwork(scene, 'silent') },
  slowBroker: { kills: 0, strike: (scene) => slowServer(scene, 'broker') },
  slowRedis: { kills: 0, strike: (scene) => slowServer(scene, 'redis') },
} as const satisfies Record<string, Fault>

export type FaultName = keyof typeof faults
const names = Object.keys(faults).filter((name): name is FaultName => name in faults)
const withoutStore = names.filter((name) => name !== 'killStore')

/**
 * Different ones for each seed. Seeds that follow each other walk through all kinds in an order
 * that is drawn anew each time, so each comes equally often: with four of twelve, once in three runs.
 */
export function drawFaults(seed: number, n: number, hasStore: boolean): readonly FaultName[] {
  const all = hasStore ? names : withoutStore
  const drawn = new Set<FaultName>()
  for (let i = seed * n; drawn.size < Math.min(n, all.length); i += 1) {
    drawn.add(shuffled(all, Math.floor(i / all.length))[i % all.length])
  }
  return [...drawn]
}

function shuffled(all: readonly FaultName[], lap: number): readonly FaultName[] {
  const random = seededRandom(lap, 0xfa17)
  const rest = [...all]
  return all.map(() => rest.splice(random.integer(rest.length), 1)[0])
}
