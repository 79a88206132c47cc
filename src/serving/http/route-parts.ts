/** What the application is made of, and what every route is built from. */
import type { ServerDependencies } from './dependencies.ts'
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

export interface RouteParts extends AppParts {
  readonly ingest: Ingest
}
