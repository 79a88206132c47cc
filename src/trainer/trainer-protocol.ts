/** What the trainer's thread and the main thread say to each other. */
import type { MessagePort } from 'node:worker_threads'

import { type ErrorCode, type ErrorDetails, ServiceError } from '../base/errors.ts'
import type { RedisSettings } from '../redis/redis-connection.ts'
import type { CommitOptions } from '../stream/kafka/kafka-ends.ts'
import type { KafkaLogOptions } from '../stream/kafka/kafka-log.ts'
import type { Fence } from '../sync/fence.ts'
import type { TrainerModel, TrainerProcess } from './trainer-config.ts'
import type {
  CommandResult,
  TrainerCommand,
  TrainerReport,
  TrainerStatus,
} from './trainer-status.ts'

/** Given to the worker when it starts. */
export interface TrainerBasis {
  readonly model: TrainerModel
  readonly process: TrainerProcess
  readonly log: LogSource
}

/** What it trains by, once it may. */
export interface TrainerTask extends TrainerBasis {
  readonly parameters: ParameterSink
}

/** Which log the worker opens for reading. */
export type LogSource =
  | { readonly kind: 'file'; readonly directory: string; readonly endSignal: SharedArrayBuffer }
  | {
      readonly kind: 'kafka'
      readonly options: Omit<KafkaLogOptions, 'report'>
      /** How often the brokers are told where the trainer stands; absent: never. */
      readonly commits?: Pick<CommitOptions, 'groupId' | 'intervalMs'>
    }

/** Where deltas go. The port is transferred. */
export type ParameterSink =
  | { readonly kind: 'port'; readonly port: MessagePort }
  | {
      readonly kind: 'redis'
      readonly model: string
      readonly connection: RedisSettings
      readonly fence: Fence
      /** Of a `LeaseEnd`. */
      readonly leaseEnd: SharedArrayBuffer
    }

/** Where all that belongs to a model lies in Redis. */
export interface SyncPlace {
  readonly model: string
  readonly connection: RedisSettings
}

/**
 * To the worker, `begin` first of all; until then it restores ahead of time where `standBy` has
 * come. `stop` ends it after a last batch, delta and checkpoint.
 */
export type TrainerRequest =
  | { readonly kind: 'standBy'; readonly sync: SyncPlace | undefined }
  | { readonly kind: 'begin'; readonly parameters: ParameterSink }
  | { readonly kind: 'command'; readonly id: number; readonly command: TrainerCommand }
  | { readonly kind: 'stop' }

/** From the worker. */
export type TrainerMessage =
  | { readonly kind: 'standsBy' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'status'; readonly status: TrainerStatus }
  | { readonly kind: 'report'; readonly report: TrainerReport }
  | { readonly kind: 'progress'; readonly id: number; readonly done: number }
  | { readonly kind: 'result'; readonly id: number; readonly result: CommandResult }
  | { readonly kind: 'rejected'; readonly id: number; readonly error: PlainError }
  | { readonly kind: 'failed'; readonly error: PlainError }
  | { readonly kind: 'stopped' }

/** An error that can be cloned. `code` absent: a bug, not an operating error. */
export interface PlainError {
  readonly message: string
  readonly code?: ErrorCode
  readonly details?: ErrorDetails
}

export function toPlain(error: unknown): PlainError {
  if (!(error instanceof ServiceError)) {
    return { message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  return { message: error.message, code: error.code, details: error.details }
}

/** The error again, as it was thrown in the other thread. */
export function fromPlain({ message, code, details = {} }: PlainError): ServiceError {
  if (code !== undefined) return new ServiceError(code, details)
  return new ServiceError('TRAINER_FAILED', { reason: message })
}
