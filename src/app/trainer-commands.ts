/**
 * The trainer's commands, as jobs ask them: of the trainer in this process, or over Redis of the
 * process that has it.
 */
import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { CommandChannel } from '../jobs/command-channel.ts'
import type {
  CheckpointReport,
  CompactReport,
  RestrictReport,
  RollBackReport,
  TrainerCommands,
} from '../jobs/jobs.ts'
import { type Command, CommandClient, CommandServer } from '../jobs/owner-commands.ts'
import { restrictJob } from '../jobs/restrict-job.ts'
import type { JobContext, JobPayload, JobResult } from '../jobs/scheduler.ts'
import type { TrainerService } from '../trainer/trainer-service.ts'
import type { RestrictedTable } from '../trainer/trainer-status.ts'
import type { Config } from './config/config-schema.ts'

export function localTrainerCommands(
  trainer: Pick<TrainerService, 'command' | 'status'>,
  config: () => Config,
): TrainerCommands {
  return {
    get tables() {
      return config().model.tables.map(({ name }) => name)
    },
    async restrict(job, { progress }) {
      const result = await trainer.command({ kind: 'restrict', ...job }, progress)
      if (result.kind !== 'restrict') throw new ServiceError('TRAINER_STOPPED', {})
      const { dryRun, removed, rows, tables } = result
      return { dryRun, removed, rows, tables: tables.map((table) => tableResult(table)) }
    },
    async checkpoint() {
      const result = await trainer.command({ kind: 'checkpoint' })
      if (result.kind !== 'checkpoint') throw new ServiceError('TRAINER_STOPPED', {})
      const modelVersion = trainer.status?.step ?? 0
      return { name: String(result.sequence), modelVersion, bytes: result.bytes }
    },
    async compact({ progress }) {
      const result = await trainer.command({ kind: 'compact' }, progress)
      if (result.kind !== 'compact') throw new ServiceError('TRAINER_STOPPED', {})
      const { steps, rows, bytes } = result
      return { steps, rows, bytes }
    },
    async rollBack(to) {
      const result = await trainer.command({ kind: 'rollBack', to })
      if (result.kind !== 'rollBack') throw new ServiceError('TRAINER_STOPPED', {})
      return { to: String(result.to) }
    },
  }
}

/** As JSON has it, which knows no Infinity. */
const tableResult = ({ report, ...rows }: RestrictedTable): JobResult => ({
  ...rows,
  ...(report && {
    byCount: report.byCount.map(({ from, rows: n }) => ({ from, rows: n })),
    byAge: report.byAge.map(({ upToMs, rows: n }) => ({
      upToMs: Number.isFinite(upToMs) ? upToMs : null,
      rows: n,
    })),
    sample: report.sample.map(({ key, count, lastSeen }) => ({ key, count, lastSeen })),
  }),
})

/** Of the process that owns the tables; `close` when nobody asks any more. */
export interface RemoteTrainerCommands extends TrainerCommands {
  close(): void
}

export function askTrainerCommands(
  channel: CommandChannel,
  { tables, clock }: { readonly tables: readonly string[]; readonly clock: Clock },
): RemoteTrainerCommands {
  const client = new CommandClient({ channel, clock })
  const ask = async <Report>(
    command: Command,
    { run: id, ...context }: JobContext,
  ): Promise<Report> => {
    // The owner's half of this file has written it.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return (await client.ask(command, { id, ...context })) as unknown as Report
  }
  return {
    tables,
    restrict: (job, context) => ask<RestrictReport>({ kind: 'restrict', ...job }, context),
    checkpoint: (context) => ask<CheckpointReport>({ kind: 'checkpoint' }, context),
    compact: (context) => ask<CompactReport>({ kind: 'compact' }, context),
    rollBack: (to, context) => ask<RollBackReport>({ kind: 'rollBack', to }, context),
    close: () => client.close(),
  }
}

export interface ServeOptions {
  readonly channel: CommandChannel
  /** Of the trainer in this process. */
  readonly commands: TrainerCommands
  /** Whether its trainer is the one that is active; absent: it is. */
  readonly isOwner?: () => boolean
}

/** A service: executes what the jobs of other processes ask for. */
export function serveTrainerCommands({ channel, commands, isOwner }: ServeOptions): CommandServer {
  const execute = async (
    { kind, ...payload }: Command,
    context: JobContext,
  ): Promise<JobResult> => {
    if (kind === 'checkpoint') return { ...(await commands.checkpoint(context)) }
    if (kind === 'compact') return { ...(await commands.compact(context)) }
    if (kind === 'rollBack') {
      return { ...(await commands.rollBack(Number(payload['to']), context)) }
    }
    if (kind !== 'restrict') {
      throw new ServiceError('REQUEST_INVALID', { path: 'kind', reason: `no command ${kind}` })
    }
    // Checked here as well, since it may come from a process of another version.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const request = restrictJob(payload as unknown as JobPayload, commands.tables)
    return { ...(await commands.restrict(request, context)) }
  }
  return new CommandServer({ channel, execute, ...(isOwner && { isOwner }) })
}
