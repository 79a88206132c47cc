/**
 * The one table of operating errors: what goes wrong in a correct program. Each has a code that a
 * client can branch on, the HTTP status it maps to, and whether the same call may simply be made
 * again. In the order of the alphabet. Programmer errors are not here: they are assertions.
 */
const table = {
  BODY_INVALID: { status: 400, retryable: false, text: 'the body is not {expected}: {reason}' },
  BODY_TOO_LARGE: { status: 413, retryable: false, text: 'the body is over {limit} bytes' },
  CHECKPOINT_FAILED: {
    status: 500,
    retryable: true,
    text: 'no checkpoint could be written to {directory}: {reason}',
  },
  CHECKPOINT_INCOMPATIBLE: {
    status: 500,
    retryable: false,
    text: 'checkpoint {sequence} was made with another configuration, which differs in: {fields}',
  },
  CHECKPOINT_MISSING: {
    status: 500,
    retryable: false,
    text: 'there is no readable checkpoint in {directory}',
  },
  CHECKPOINT_STORE_REFUSED: { status: 500, retryable: false, text: '{place} refuses: {reason}' },
  CHECKPOINT_STORE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    text: '{place} does not answer: {reason}',
  },
  CHILD_FAILED: { status: 500, retryable: false, text: '{what} failed: {reason}' },
  COMMAND_UNANSWERED: {
    status: 503,
    retryable: true,
    text: '{command} was not answered within {limitMs} ms: {reason}',
  },
  CONFIG_INVALID: {
    status: 500,
    retryable: false,
    text: '{source} is invalid at {path}: {reason}',
  },
  DATA_UNUSABLE: {
    status: 500,
    retryable: false,
    text: 'the data directory {directory} cannot be used: {reason}',
  },
  DEAD_LETTER_UNKNOWN: { status: 404, retryable: false, text: 'there is no batch {name}' },
  ENGINE_UNSUPPORTED: {
    status: 500,
    retryable: false,
    text: 'the engine {engine} does not compute {path}',
  },
  EVENT_INVALID: { status: 400, retryable: false, text: 'event is invalid at {path}: {reason}' },
  EVENT_IN_FUTURE: {
    status: 400,
    retryable: false,
    text: 'event is in the future at {path}: {reason}',
  },
  FACTS_DAMAGED: { status: 500, retryable: false, text: 'saved facts are damaged: {reason}' },
  FACTS_INCOMPATIBLE: {
    status: 500,
    retryable: false,
    text: 'saved facts do not fit the configured {field}',
  },
  HEADERS_TOO_LARGE: {
    status: 431,
    retryable: false,
    text: 'the request line and headers are over {limit} bytes',
  },
  HOST_FORBIDDEN: {
    status: 403,
    retryable: false,
    text: 'without API keys only loopback host names are answered, not {host}',
  },
  HTTP_ADDRESS_INVALID: {
    status: 500,
    retryable: false,
    text: 'cannot listen on {host}:{port}: {reason}',
  },
  HTTP_KEYS_REQUIRED: {
    status: 500,
    retryable: false,
    text:
      '{host} can be reached from other machines: make an API key (`freshet keys create NAME`), ' +
      'or listen on 127.0.0.1',
  },
  HTTP_MALFORMED: { status: 400, retryable: false, text: 'not a valid HTTP request: {reason}' },
  HTTP_PORT_BUSY: {
    status: 500,
    retryable: true,
    text: 'port {port} of {host} is in use by another process',
  },
  HTTP_PORT_FORBIDDEN: {
    status: 500,
    retryable: false,
    text: 'this user may not listen on port {port} of {host}',
  },
  HTTP_TLS_INVALID: {
    status: 500,
    retryable: false,
    text: '{certFile} and {keyFile} are no certificate with its key: {reason}',
  },
  IMPORT_UNKNOWN: { status: 404, retryable: false, text: 'no import {id} is known' },
  INDEX_DAMAGED: { status: 500, retryable: false, text: 'the index cannot be read: {reason}' },
  INDEX_FULL: {
    status: 503,
    retryable: false,
    text: 'item {id} is beyond the {capacity} that the index holds',
  },
  INDEX_NOT_SAVED: {
    status: 500,
    retryable: true,
    text: 'the index could not be saved to {file}: {reason}',
  },
  INDEX_VECTOR_INVALID: {
    status: 500,
    retryable: false,
    text: 'a vector for the index is invalid: {reason}',
  },
  INPUT_INVALID: {
    status: 500,
    retryable: false,
    text: '{file} is wrong at {place}: {reason}; nothing was taken from it',
  },
  INPUT_UNREADABLE: { status: 500, retryable: false, text: 'cannot read {file}: {reason}' },
  INTERNAL: {
    status: 500,
    retryable: false,
    text: 'something went wrong here; the log has it under this request id',
  },
  ITEM_UNKNOWN: { status: 404, retryable: false, text: 'there is no item {itemId}' },
  JOBS_UNAVAILABLE: {
    status: 503,
    retryable: true,
    text: 'the jobs at {servers} cannot be asked: {reason}; a run with a key may be asked again',
  },
  JOB_BUSY: { status: 409, retryable: true, text: 'job {name} is running: wait for run {run}' },
  JOB_CANCELLED: { status: 409, retryable: false, text: 'run {run} was called off' },
  JOB_FAILED: { status: 500, retryable: false, text: 'run {run} of job {name}: {reason}' },
  JOB_RUN_UNKNOWN: {
    status: 404,
    retryable: false,
    text: 'there is no run {run}, or it is no longer remembered',
  },
  JOB_UNKNOWN: {
    status: 404,
    retryable: false,
    text: 'there is no job {name}; there are: {known}',
  },
  JOURNAL_DAMAGED: {
    status: 500,
    retryable: false,
    text: 'the batch journal is damaged: {reason}',
  },
  JOURNAL_INCOMPLETE: {
    status: 500,
    retryable: false,
    text: 'the batch journal holds entries {first} up to {next}, not from {from} on',
  },
  KERNELS_UNAVAILABLE: {
    status: 500,
    retryable: false,
    text: 'kernels cannot be loaded from {file}: {reason}; build them with `npm run kernels`',
  },
  KERNEL_WORKER_LOST: {
    status: 500,
    retryable: false,
    text: 'kernel thread {thread} of {threads} failed in {kernel}: {reason}',
  },
  KEYS_BUSY: {
    status: 500,
    retryable: true,
    text: 'the keys are being changed by another command, or {file} is left of one: {reason}',
  },
  KEYS_UNREADABLE: { status: 500, retryable: false, text: 'cannot read {file}: {reason}' },
  KEY_EXISTS: { status: 409, retryable: false, text: 'there is a key {name} already' },
  KEY_INVALID: { status: 401, retryable: false, text: 'this API key is not known' },
  KEY_REQUIRED: {
    status: 401,
    retryable: false,
    text: 'an API key is needed: Authorization: Bearer KEY',
  },
  KEY_UNKNOWN: {
    status: 404,
    retryable: false,
    text: 'there is no key {name}; there are: {known}',
  },
  LAYERS_MODEL_INVALID: {
    status: 500,
    retryable: false,
    text: 'the LayersModel {path} cannot be used: {reason}',
  },
  LEASE_LOST: {
    status: 500,
    retryable: false,
    text: 'the lease of {holder} of epoch {epoch} is lost: another one may have taken over',
  },
  LEASE_REFUSED: {
    status: 500,
    retryable: false,
    text: 'Redis refuses the lease of {model}: {reason}',
  },
  LOG_APPEND_TOO_LARGE: {
    status: 413,
    retryable: false,
    text: 'one append holds at most {events} events and {bytes} bytes of them',
  },
  LOG_CLOSED: { status: 503, retryable: false, text: 'the event log is closed' },
  LOG_DISK_FULL: {
    status: 503,
    retryable: true,
    text: 'no space left in {directory}; nothing was appended',
  },
  LOG_FAILED: {
    status: 503,
    retryable: false,
    text: 'the event log takes no more events after a failed write: {reason}',
  },
  LOG_LOCKED: {
    status: 500,
    retryable: false,
    text: 'process {pid} on {host} holds {path}; if that host is gone, remove the file',
  },
  LOG_OFFSET_EXPIRED: {
    status: 500,
    retryable: false,
    text: 'event {offset} is no longer kept: the log starts at {start}',
  },
  LOG_OFFSET_UNKNOWN: {
    status: 500,
    retryable: false,
    text: 'there is no event {offset}: the log ends at {end}',
  },
  LOG_OVERLOADED: {
    status: 503,
    retryable: true,
    text: '{events} events are waiting to be written: try again later',
  },
  LOG_REFUSED: {
    status: 500,
    retryable: false,
    text: 'the brokers {brokers} refuse topic {topic}: {reason}',
  },
  LOG_SEGMENT_DAMAGED: {
    status: 500,
    retryable: false,
    text: 'log segment {segment} is damaged at byte {byte}: {reason}',
  },
  LOG_TOPIC_UNKNOWN: {
    status: 500,
    retryable: false,
    text: 'there is no topic {topic} at {brokers}',
  },
  LOG_UNAVAILABLE: {
    status: 503,
    retryable: true,
    text: 'the brokers {brokers} do not answer for topic {topic}: {reason}',
  },
  LOG_UNCONFIRMED: {
    status: 503,
    retryable: true,
    text: '{events} events were not confirmed in {limitMs} ms and may be in the log: {reason}',
  },
  LOG_UNREADABLE: { status: 500, retryable: false, text: 'cannot use {path}: {reason}' },
  MEDIA_TYPE_UNSUPPORTED: {
    status: 415,
    retryable: false,
    text: 'content type {type} is not read here; {expected} is',
  },
  MEMORY_EXHAUSTED: {
    status: 500,
    retryable: false,
    text: '{bytes} bytes do not fit: {available} of {capacity} are free',
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    retryable: false,
    text: '{method} is not among the methods of this path: {allowed}',
  },
  OFFSET_NOT_VISIBLE: {
    status: 503,
    retryable: true,
    text: 'event {offset} is not visible after {waitedMs} ms',
  },
  OUTPUT_FAILED: { status: 500, retryable: true, text: 'cannot write {file}: {reason}' },
  OVERLOADED: { status: 503, retryable: true, text: 'too much at once ({reason}): try again' },
  RATE_LIMITED: {
    status: 429,
    retryable: true,
    text: 'more than {perSecond} requests a second with this key',
  },
  RECORDING_COLUMNS: { status: 400, retryable: false, text: 'the columns are unclear: {reason}' },
  REPLICA_ABSENT: {
    status: 503,
    retryable: true,
    text: 'there is no replica to ask (asked for: {replica})',
  },
  REPLICA_BEHIND: {
    status: 503,
    retryable: true,
    text: 'replica {replica} has not folded what it was told to in time',
  },
  REQUEST_FAILED: { status: 502, retryable: true, text: 'a request to {path} failed: {reason}' },
  REQUEST_INVALID: {
    status: 400,
    retryable: false,
    text: 'the request is invalid at {path}: {reason}',
  },
  REQUEST_TIMEOUT: {
    status: 408,
    retryable: true,
    text: 'the request did not arrive within {limitMs} ms',
  },
  RESTRICT_INVALID: {
    status: 400,
    retryable: false,
    text: '{argument} of restrict must be a whole number of rows, not {value}',
  },
  ROUTE_UNKNOWN: { status: 404, retryable: false, text: 'there is nothing at {method} {path}' },
  ROWS_ELSEWHERE: {
    status: 500,
    retryable: false,
    text: 'the checkpoint has the rows of table {table} as {part}: process.tables was another then',
  },
  ROW_CACHE_FULL: {
    status: 500,
    retryable: false,
    text: 'every row of table {table} in memory has changed since the last checkpoint',
  },
  ROW_STORE_AHEAD: {
    status: 500,
    retryable: false,
    text: 'the rows in store of table {table} are of checkpoint {mark}, later than {sequence}',
  },
  ROW_STORE_BEHIND: {
    status: 500,
    retryable: false,
    text: 'the rows in store of table {table} are of checkpoint {mark}: {sequence} is not kept',
  },
  ROW_STORE_DAMAGED: {
    status: 500,
    retryable: false,
    text: 'the row store of table {table} lacks {rows} rows, or has them as they never were',
  },
  ROW_STORE_FAILED: {
    status: 500,
    retryable: false,
    text: 'the row store of table {table} refuses {verb}: {reason}',
  },
  ROW_STORE_FENCED: {
    status: 500,
    retryable: false,
    text: 'another process writes the rows of table {table} as {writer} now; this one must stop',
  },
  ROW_STORE_INCOMPATIBLE: {
    status: 500,
    retryable: false,
    text: 'rows under tag {tag} are not those of table {table}: {field} {found}, not {expected}',
  },
  ROW_STORE_OCCUPIED: {
    status: 500,
    retryable: false,
    text: 'there is no checkpoint, but the store has {rows} rows of table {table} under this tag',
  },
  ROW_STORE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    text: 'the row store of table {table} does not answer {verb}: {reason}',
  },
  ROW_STORE_WENT_BACK: {
    status: 500,
    retryable: false,
    text: 'the row store of table {table} has lost confirmed writes: {reason}',
  },
  SCOPE_MISSING: { status: 403, retryable: false, text: 'this API key has no scope {scope}' },
  SERVING_NOT_READY: {
    status: 503,
    retryable: true,
    text: 'nothing to recommend with yet: {missing}',
  },
  SHUTTING_DOWN: { status: 503, retryable: true, text: 'the service is stopping' },
  SNAPSHOT_DAMAGED: {
    status: 500,
    retryable: false,
    text: 'the snapshot of table {table} cannot be read: {reason}',
  },
  SNAPSHOT_INCOMPATIBLE: {
    status: 500,
    retryable: false,
    text: 'the snapshot of table {table} was made with another {field}: {found}, not {expected}',
  },
  SNAPSHOT_OVERTAKEN: {
    status: 500,
    retryable: true,
    text: 'table {table} changed faster than its snapshot was read, or was replaced: take another',
  },
  SYNC_CLOSED: {
    status: 503,
    retryable: false,
    text: 'parameters are no longer carried: {side} is closed',
  },
  SYNC_DELTA_DAMAGED: { status: 500, retryable: false, text: 'a delta cannot be read: {reason}' },
  SYNC_FENCED: {
    status: 500,
    retryable: false,
    text: 'another trainer of {model} has taken over from epoch {epoch}; this one must stop',
  },
  SYNC_REFUSED: {
    status: 500,
    retryable: false,
    text: 'Redis refuses to carry the parameters of {model}: {reason}',
  },
  TENSORFLOW_UNAVAILABLE: {
    status: 500,
    retryable: false,
    text: 'no TensorFlow.js could be started: {reason}',
  },
  TRAINER_ACTIVE: {
    status: 500,
    retryable: false,
    text: '{holder} trains this model: stop it first, and those that stand by',
  },
  TRAINER_FAILED: { status: 500, retryable: false, text: 'the trainer has failed: {reason}' },
  TRAINER_STOPPED: { status: 503, retryable: true, text: 'the trainer is not running' },
  USAGE_INVALID: { status: 500, retryable: false, text: '{what}: {reason}' },
  USER_UNKNOWN: { status: 404, retryable: false, text: 'there is no user {userId}' },
  VERSIONS_DAMAGED: {
    status: 500,
    retryable: false,
    text: 'the list of versions in {file} cannot be read: {reason}',
  },
  VERSIONS_FULL: {
    status: 409,
    retryable: false,
    text: 'there are {max} versions already, as many as may be: remove one',
  },
  VERSIONS_UNAVAILABLE: { status: 503, retryable: true, text: 'Redis cannot be asked: {reason}' },
  VERSION_ANSWERS: {
    status: 409,
    retryable: false,
    text: 'version {version} is the one that answers: promote another one first',
  },
  VERSION_EXISTS: { status: 409, retryable: false, text: 'there is a version {version} already' },
  VERSION_NONE_BEFORE: {
    status: 409,
    retryable: false,
    text: 'there is no version before {version} to go back to',
  },
  VERSION_NOT_READY: {
    status: 409,
    retryable: true,
    text: 'version {version} cannot answer yet: {reason}',
  },
  VERSION_UNKNOWN: {
    status: 404,
    retryable: false,
    text: 'there is no version {version}; there are {known}',
  },
  WEIGHTS_INVALID: {
    status: 500,
    retryable: false,
    text: 'dense weights are of another model: {expected} floats expected, {actual} given',
  },
} as const satisfies Record<string, { status: number; retryable: boolean; text: string }>

export type ErrorCode = keyof typeof table

/** For the documentation, which has every row. */
export const errorTable: Readonly<Record<ErrorCode, (typeof table)[ErrorCode]>> = table

/** Of a text that came from another process. */
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(table, text)

export type ErrorDetails = Readonly<Record<string, string | number>>

/** An operating error. `details` fill the text's placeholders and travel to the client. */
export class ServiceError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, details: ErrorDetails, options?: ErrorOptions) {
    super(fill(table[code].text, details), options)
    this.name = 'ServiceError'
    this.code = code
    this.details = details
  }

  get status(): number {
    return table[this.code].status
  }

  get retryable(): boolean {
    return table[this.code].retryable
  }
}

const fill = (text: string, details: ErrorDetails): string =>
  text.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? `{${name}}`))
