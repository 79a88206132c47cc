/** What the application is made of, and what the routes of each role are built from. */
import type { Scheduler } from '../../jobs/scheduler.ts'
import type { Readers, ServerDependencies } from './dependencies.ts'
import type { Gate } from './gate.ts'
import type { Ingest } from './ingest.ts'
import type { LoadGuard } from './load-guard.ts'
import type { HttpSettings } from './settings.ts'

export interface AppParts {
  readonly settings: HttpSettings
  readonly dependencies: ServerDependencies
  readonly gate: Gate
  readonly load: LoadGuard
}

export interface WriteParts extends AppParts {
  readonly ingest: Ingest
}

export interface ReadParts extends AppParts {
  readonly readers: Readers
  /** Where this process writes, too: what it has written can be read. */
  readonly ingest: Ingest | undefined
}

export interface JobParts extends AppParts {
  readonly jobs: Pick<Scheduler, 'names' | 'begin' | 'history' | 'find' | 'cancel'>
}
