/** What the parts of a model must agree on beyond their own shapes; paths lead to the culprit. */
import { sharesRow } from '../../embedding/admission/admission.ts'
import { ownRequest } from '../../embedding/restrict/restrict.ts'
import { suggestion } from '../nearest.ts'
import type { ModelConfig } from './config-model-schema.ts'
import type { Path } from './config-paths.ts'
import type { ProcessConfig, Role } from './config-process-schema.ts'
import type { Config } from './config-schema.ts'

export interface Complaint {
  readonly path: Path
  readonly reason: string
}

type Feature = ModelConfig['towers']['query']['features'][number]
type Table = ModelConfig['tables'][number]

interface FeatureList {
  readonly path: Path
  readonly features: readonly Feature[]
  /** Dim that every table used here must have; absent: any. */
  readonly dim: number | undefined
  readonly side: 'query' | 'candidate'
}

const tableOf = (feature: Feature): string | undefined =>
  'table' in feature ? feature.table : undefined

const ofQueryOnly = new Set(['sequence', 'context', 'gap'])

function featureLists({ towers, score }: ModelConfig): readonly FeatureList[] {
  const lists: FeatureList[] = []
  for (const side of ['query', 'candidate'] as const) {
    const { features, combine } = towers[side]
    const first = features.find((feature) => tableOf(feature) !== undefined)
    lists.push({
      path: ['model', 'towers', side, 'features'],
      features,
      dim: combine === 'sum' && first !== undefined ? -1 : undefined,
      side,
    })
  }
  if (score.popularity !== undefined) {
    const path = ['model', 'score', 'popularity', 'features']
    lists.push({ path, features: score.popularity.features, dim: 1, side: 'query' })
  }
  return lists
}

function* checkTables(tables: readonly Table[]): Generator<Complaint> {
  const names = new Set<string>()
  for (const [i, table] of tables.entries()) {
    const path = ['model', 'tables', i]
    if (names.has(table.name)) {
      yield { path: [...path, 'name'], reason: `another table is named "${table.name}" too` }
    }
    names.add(table.name)
    yield* checkRestrict(table, path)
  }
}

function* checkRestrict(table: Table, path: Path): Generator<Complaint> {
  const request = ownRequest(table)
  if (request === undefined) return
  const { numReserved, trigger } = request
  if (trigger > table.capacityRows) {
    const reason = `must not be above capacityRows, ${table.capacityRows}`
    yield { path: [...path, 'restrict', 'trigger'], reason }
  }
  if (numReserved > trigger) {
    const reason = `must not be above the ${trigger} rows at which the table restricts itself`
    yield { path: [...path, 'restrict', 'numReserved'], reason }
  }
}

function* checkFeature(
  feature: Feature,
  { path, dim, side }: { path: Path; dim: number | undefined; side: 'query' | 'candidate' },
  tables: ReadonlyMap<string, Table>,
): Generator<Complaint> {
  yield* checkOptions(feature, path)
  if (feature.kind === 'time' && side === 'candidate' && feature.field === undefined) {
    yield { path: [...path, 'field'], reason: 'is needed: an item has no time of its own' }
  }
  if (side === 'candidate' && ofQueryOnly.has(feature.kind)) {
    yield { path: [...path, 'kind'], reason: `"${feature.kind}" belongs to the query` }
  }
  if (
    feature.kind === 'numeric' &&
    (feature.table === undefined) !== (feature.boundaries === undefined)
  ) {
    yield { path: [...path, 'boundaries'], reason: '`table` and `boundaries` go together' }
  }
  const name = tableOf(feature)
  if (name === undefined) return
  const table = tables.get(name)
  if (table === undefined) {
    const reason = `there is no table "${name}"${suggestion(name, tables.keys())}`
    yield { path: [...path, 'table'], reason }
  } else if (dim !== undefined && table.dim !== dim) {
    const reason = `table "${table.name}" has dim ${table.dim}, ${dim} is needed here`
    yield { path: [...path, 'table'], reason }
  }
  if (table !== undefined) yield* checkDropout(feature, table, path)
}

/** What a feature says of itself that does not go together. */
function* checkOptions(feature: Feature, path: Path): Generator<Complaint> {
  if (feature.kind === 'categories' && feature.combine === 'max' && feature.weights !== undefined) {
    yield { path: [...path, 'weights'], reason: '"max" has none' }
  }
  if (feature.kind !== 'numeric' || feature.table === undefined) return
  if (feature.transform !== 'zscore' && feature.transform !== 'quantile') return
  yield { path: [...path, 'table'], reason: `"${feature.transform}" goes without a table` }
}

function* checkDropout(feature: Feature, table: Table, path: Path): Generator<Complaint> {
  if (feature.kind !== 'id' || (feature.dropout ?? 0) === 0 || sharesRow(table)) return
  const reason = `table "${table.name}" needs an admission, such as minCount`
  yield { path: [...path, 'dropout'], reason }
}

function* checkFeatures(
  list: FeatureList,
  tables: ReadonlyMap<string, Table>,
): Generator<Complaint> {
  const names = new Set<string>()
  // Features that are added must be as wide as the first of them.
  const first = list.features.find((feature) => tableOf(feature) !== undefined)
  const dim = list.dim === -1 ? tables.get((first && tableOf(first)) ?? '')?.dim : list.dim
  for (const [i, feature] of list.features.entries()) {
    const path = [...list.path, i]
    if (names.has(feature.name)) {
      yield { path: [...path, 'name'], reason: `another feature is named "${feature.name}" too` }
    }
    names.add(feature.name)
    yield* checkFeature(feature, { path, dim, side: list.side }, tables)
  }
}

/** A sequence cannot reach further back than what the facts keep, nor name what no item has. */
function* checkHistory({ facts, towers }: ModelConfig): Generator<Complaint> {
  const ofItems = towers.candidate.features.filter((feature) => tableOf(feature) !== undefined)
  const names = ofItems.map(({ name }) => name)
  for (const [i, feature] of towers.query.features.entries()) {
    if (feature.kind !== 'sequence') continue
    const path = ['model', 'towers', 'query', 'features', i]
    if (feature.length > facts.historyLength) {
      const reason = `must not be above model.facts.historyLength, ${facts.historyLength}`
      yield { path: [...path, 'length'], reason }
    }
    const { of } = feature
    if (of === undefined) continue
    if (!names.includes(of)) {
      const reason = `the candidate has no feature "${of}" with a table${suggestion(of, names)}`
      yield { path: [...path, 'of'], reason }
    }
  }
}

/**
 * In one process parameters reach the readers from the trainer's thread: whoever answers needs
 * one. Between processes there are Kafka and Redis.
 */
function* checkShape(process: ProcessConfig): Generator<Complaint> {
  const { shape, roles, kafka, redis } = process
  const at = ['process']
  yield* checkRedis(redis, [...at, 'redis'], shape === 'distributed' && roles.some(usesRedis))
  yield* checkSasl(kafka, [...at, 'kafka', 'sasl'])
  if (shape === 'distributed' && kafka.brokers.length === 0) {
    const reason = 'the distributed shape needs at least one, host:port'
    yield { path: [...at, 'kafka', 'brokers'], reason }
  }
  if (shape === 'embedded' && roles.includes('serving') && !roles.includes('trainer')) {
    const reason = '"serving" needs "trainer" in the same process, or shape: distributed'
    yield { path: [...at, 'roles'], reason }
  }
  const isTrainer = roles.includes('trainer') && !roles.some(needsAllVersions)
  if (process.versions.only !== undefined && !(shape === 'distributed' && isTrainer)) {
    const reason = 'is of a trainer in the distributed shape that neither answers nor runs jobs'
    yield { path: [...at, 'versions', 'only'], reason }
  }
}

const needsAllVersions = (role: Role): boolean => role === 'serving' || role === 'jobs'

/** Copies go with a lease, which is in Redis, and beside them the journal. */
function* checkCheckpoints({ shape, checkpoints }: ProcessConfig): Generator<Complaint> {
  const at = ['process', 'checkpoints']
  const { store, s3 } = checkpoints
  if (store === 'folder') return
  if (shape === 'embedded') {
    yield { path: [...at, 'store'], reason: '"s3" needs shape: distributed' }
  }
  if (s3.bucket === undefined) yield { path: [...at, 's3', 'bucket'], reason: 'is needed' }
  const secrets = [s3.secretAccessKey, s3.secretAccessKeyFile].filter((one) => one !== undefined)
  if (secrets.length !== (s3.accessKeyId === undefined ? 0 : 1)) {
    const reason =
      'expected accessKeyId and secretAccessKey or secretAccessKeyFile, or none of them'
    yield { path: [...at, 's3'], reason }
  }
}

const usesRedis = (role: Role): boolean => role !== 'ingest'

function* checkSasl({ sasl }: ProcessConfig['kafka'], path: Path): Generator<Complaint> {
  const { mechanism, username, password, passwordFile } = sasl
  const passwords = [password, passwordFile].filter((given) => given !== undefined).length
  const isNone = mechanism === undefined && username === undefined && passwords === 0
  if (isNone || (mechanism !== undefined && username !== undefined && passwords === 1)) return
  yield { path, reason: 'expected mechanism, username, and password or passwordFile' }
}

/** One way to a server, and one password. */
function* checkRedis(
  redis: ProcessConfig['redis'] | ProcessConfig['tables']['redis'],
  path: Path,
  isNeeded: boolean,
): Generator<Complaint> {
  const { url, sentinels, nodes, password, passwordFile } = redis
  const ways = [url !== undefined, sentinels.length > 0, nodes.length > 0].filter(Boolean).length
  if (ways > 1 || (ways === 0 && isNeeded)) {
    yield { path, reason: 'expected one of url, sentinels, nodes' }
  }
  if (password !== undefined && passwordFile !== undefined) {
    yield { path: [...path, 'password'], reason: 'passwordFile says it, too' }
  }
}

/** Rows outside the process need a server, one way to it, and tables that there are. */
function* checkRows(
  { tables }: ModelConfig,
  { tables: rows }: ProcessConfig,
): Generator<Complaint> {
  const at = ['process', 'tables']
  const names = tables.map(({ name }) => name)
  for (const name of Object.keys(rows.byTable)) {
    if (names.includes(name)) continue
    yield { path: [...at, 'byTable', name], reason: `no table "${name}"${suggestion(name, names)}` }
  }
  const choices = [rows.rows, ...Object.values(rows.byTable).map((own) => own.rows ?? rows.rows)]
  const isNeeded = choices.some((choice) => choice !== 'memory')
  yield* checkRedis(rows.redis, [...at, 'redis'], isNeeded)
}

/** Everything wrong with a configuration whose parts are each well-formed. */
export function* checkConfig({ model, process }: Config): Generator<Complaint> {
  yield* checkShape(process)
  yield* checkCheckpoints(process)
  yield* checkRows(model, process)
  yield* checkModel(model)
}

/** A LayersModel stands in the place of layers, and only one engine knows what to do with it. */
function* checkLayersModels({ engine, towers }: ModelConfig): Generator<Complaint> {
  for (const side of ['query', 'candidate'] as const) {
    const { layersModel, layers } = towers[side]
    if (layersModel === undefined) continue
    const path = ['model', 'towers', side]
    if (engine !== 'tfjs') {
      yield { path: [...path, 'layersModel'], reason: 'needs model.engine: tfjs' }
    }
    if (layers.length > 0) {
      yield { path: [...path, 'layers'], reason: 'must be empty beside a layersModel' }
    }
  }
}

/** Everything wrong with a model whose parts are each well-formed. */
function* checkModel(model: ModelConfig): Generator<Complaint> {
  yield* checkLayersModels(model)
  yield* checkHistory(model)
  yield* checkTables(model.tables)
  const tables = new Map(model.tables.map((table) => [table.name, table]))
  for (const list of featureLists(model)) yield* checkFeatures(list, tables)
}
