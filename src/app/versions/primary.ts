/** The parts of whoever is the primary version, for all that speaks to one trainer or replica. */
import { present } from '../../base/assert.ts'
import type { ServingRole, ServingService } from '../../serving/serving-service.ts'
import type { TrainerPart, TrainerRole } from '../shape.ts'
import type { Versions } from './versions.ts'

/** Undefined in a process without this role. */
export function primaryTrainer(versions: Versions): TrainerRole | undefined {
  if (versions.primary.parts.trainer === undefined) return undefined
  const now = (): TrainerPart => present(versions.primary.parts.trainer, 'a trainer')
  return {
    get status() {
      return now().status
    },
    get condition() {
      return now().condition
    },
    get lease() {
      return now().lease
    },
    command: (command, onProgress) => now().command(command, onProgress),
  }
}

/** Undefined in a process without this role. */
export function primaryServing(versions: Versions): ServingRole | undefined {
  if (versions.primary.parts.serving === undefined) return undefined
  const now = (): ServingService => present(versions.primary.parts.serving, 'a replica')
  return {
    get replica() {
      return now().replica
    },
    get liveIndex() {
      return now().liveIndex
    },
    get retriever() {
      return now().retriever
    },
    get alignment() {
      return now().alignment
    },
    get freshness() {
      return now().freshness
    },
    get sync() {
      return now().sync
    },
    checks: () => now().checks(),
    waitFor: (...given) => now().waitFor(...given),
    rebuildIndex: (...given) => now().rebuildIndex(...given),
  }
}
