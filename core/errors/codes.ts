/**
 * Every way Headrace can fail, in one table. A code names what happened; the row says what the
 * runner does, whom the job history blames, which HTTP status the API answers, and one sentence
 * for the person who has to mend it. Codes are never reused with another meaning.
 */

/** retry: back off and go on. resync: the stream needs a new snapshot. hold: wait for a person.
 * stop: a defect of ours or a fence; the process that met it must not go on. */
export type Reaction = 'retry' | 'resync' | 'hold' | 'stop';

export type FailureOrigin = 'source' | 'destination' | 'replication' | 'airbyte_platform';
export type FailureType = 'config_error' | 'system_error' | 'transient_error';

export interface ErrorSpec {
  readonly reaction: Reaction;
  readonly origin: FailureOrigin;
  readonly type: FailureType;
  readonly http: number;
  readonly fix: string;
}

export const ERROR_CODES = {
  CFG_INVALID_SETTING: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Correct or remove the HEADRACE_* setting named in the message and start again.',
  },
  CFG_INVALID_CONNECTOR: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 422,
    fix: 'Correct the field of the connector configuration named in the message.',
  },
  CFG_PORT_IN_USE: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Stop the program that holds the port, or choose another one with the setting named in the message.',
  },
  CFG_STORE_LOCKED: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Stop the other process over the same HEADRACE_HOME, or give all of them one HEADRACE_STORE_URL.',
  },
  CFG_STORE_UNAVAILABLE: {
    reaction: 'retry',
    origin: 'airbyte_platform',
    type: 'transient_error',
    http: 503,
    fix: 'Start the Postgres server that HEADRACE_STORE_URL names, or wait until it answers again.',
  },
  CFG_STORE_REFUSED: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Correct HEADRACE_STORE_URL (database, user, password) or grant the user CREATE on its database.',
  },
  CFG_SECRET_KEY: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Set HEADRACE_SECRET_KEY to the passphrase that the store was written with.',
  },
  CFG_TOKEN_REQUIRED: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Set HEADRACE_API_TOKEN, or let HEADRACE_API_HOST be a loopback address.',
  },
  CFG_UNKNOWN_CONNECTOR: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 404,
    fix: 'Use a definition id or name that source_definitions/list or destination_definitions/list answers.',
  },
  API_MALFORMED_JSON: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 422,
    fix: 'Send one JSON object as the body of the request.',
  },
  API_INVALID_REQUEST: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 400,
    fix: 'Add or correct the field of the request named in the message.',
  },
  API_INVALID_CONNECTION: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 422,
    fix: 'Correct the stream, mode, name or schedule of the connection named in the message.',
  },
  API_NOT_FOUND: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 404,
    fix: 'Look the id up with the list call of its kind.',
  },
  API_UNAUTHORIZED: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 401,
    fix: 'Send the value of HEADRACE_API_TOKEN as Authorization: Bearer.',
  },
  JOB_ALREADY_RUNNING: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 409,
    fix: 'Wait for the running sync or cancel it with jobs/cancel.',
  },
  JOB_CONNECTION_INACTIVE: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 409,
    fix: 'Set the status of the connection to active with connections/update first.',
  },
  JOB_CANCELLED: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 409,
    fix: 'Nothing is to be mended: someone cancelled the job; start a new sync when it is wanted.',
  },
  JOB_TIMED_OUT: {
    reaction: 'hold',
    origin: 'airbyte_platform',
    type: 'system_error',
    http: 500,
    fix: 'Read in the log of the job what it waited for, mend that and start a new sync.',
  },
  EVT_UNDECODABLE: {
    reaction: 'hold',
    origin: 'replication',
    type: 'system_error',
    http: 500,
    fix: 'Find who wrote a foreign record to the topic at the offset named; then re-snapshot the stream or replay past it.',
  },
  CFG_INVALID_STACK: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Use the names which `headrace stack up --help` lists.',
  },
  STACK_TOOL_MISSING: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'config_error',
    http: 500,
    fix: 'Install the tool named in the message, or use a server that runs elsewhere.',
  },
  STACK_FETCH_FAILED: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'transient_error',
    http: 500,
    fix: 'Read the output in the message, mend the network or the package registry it names, and start again: finished parts are kept.',
  },
  STACK_SERVER_FAILED: {
    reaction: 'stop',
    origin: 'airbyte_platform',
    type: 'system_error',
    http: 500,
    fix: 'Read the end of the server log in the message; `headrace stack down` and a new data folder give a fresh start.',
  },
  KAFKA_UNAVAILABLE: {
    reaction: 'retry',
    origin: 'replication',
    type: 'transient_error',
    http: 503,
    fix: 'Kafka cannot be reached or cannot answer; work goes on by itself when it is back. Check the brokers and HEADRACE_KAFKA_BROKERS.',
  },
  KAFKA_AUTH: {
    reaction: 'hold',
    origin: 'replication',
    type: 'config_error',
    http: 502,
    fix: 'Correct the HEADRACE_KAFKA_SASL_* or HEADRACE_KAFKA_TLS setting, or grant the missing right on the topic, group or transactional id named.',
  },
  KAFKA_REFUSED: {
    reaction: 'hold',
    origin: 'replication',
    type: 'config_error',
    http: 502,
    fix: 'Kafka refuses the request for good; change the topic, broker setting or version that the message names.',
  },
  KAFKA_TOPIC_GONE: {
    reaction: 'hold',
    origin: 'replication',
    type: 'system_error',
    http: 502,
    fix: 'The topic was deleted outside of Headrace; re-snapshot the stream to fill a new one.',
  },
  KAFKA_IDENTITY_CHANGED: {
    reaction: 'hold',
    origin: 'replication',
    type: 'system_error',
    http: 502,
    fix: 'The topic was deleted and created again, or its log was cut behind our position; re-snapshot the stream.',
  },
  KAFKA_GAP: {
    reaction: 'hold',
    origin: 'replication',
    type: 'system_error',
    http: 502,
    fix: 'Records were removed before they were delivered; re-snapshot the stream and lengthen the retention of its topic.',
  },
  KAFKA_FENCED: {
    reaction: 'stop',
    origin: 'replication',
    type: 'system_error',
    http: 500,
    fix: 'Another instance has taken this source over; nothing is to be done if it is running.',
  },
  KAFKA_REOPEN: {
    reaction: 'retry',
    origin: 'replication',
    type: 'transient_error',
    http: 503,
    fix: 'The outcome of a Kafka transaction is unknown; the source re-opens and reads its position again by itself.',
  },
  EVT_TOO_LARGE: {
    reaction: 'hold',
    origin: 'source',
    type: 'config_error',
    http: 502,
    fix: 'A record is larger than its topic takes; raise max.message.bytes of the topic named, or leave the column out.',
  },
  SCH_INCOMPATIBLE: {
    reaction: 'hold',
    origin: 'source',
    type: 'config_error',
    http: 409,
    fix: 'The change of the column named cannot be carried on in the same topic; undo it, or reset the stream so that it is copied anew.',
  },
  SCH_UNKNOWN_ID: {
    reaction: 'hold',
    origin: 'replication',
    type: 'system_error',
    http: 500,
    fix: 'A record names a schema that the registry does not hold; find out who removed it or who wrote the record, then re-snapshot the stream.',
  },
  SCH_REGISTRY_UNAVAILABLE: {
    reaction: 'retry',
    origin: 'replication',
    type: 'transient_error',
    http: 503,
    fix: 'The schema registry cannot be reached; check HEADRACE_SCHEMA_REGISTRY_URL.',
  },
  DST_UNAVAILABLE: {
    reaction: 'retry',
    origin: 'destination',
    type: 'transient_error',
    http: 503,
    fix: 'Check that the destination is running and reachable from here; delivery goes on by itself when it is.',
  },
  DST_AUTH: {
    reaction: 'hold',
    origin: 'destination',
    type: 'config_error',
    http: 422,
    fix: "Correct the user, password or access keys in the destination's configuration.",
  },
  DST_PRIVILEGE: {
    reaction: 'hold',
    origin: 'destination',
    type: 'config_error',
    http: 422,
    fix: "Grant the destination's user the right named in the message.",
  },
  DST_DISK_FULL: {
    reaction: 'retry',
    origin: 'destination',
    type: 'system_error',
    http: 507,
    fix: 'Free space in the destination, or raise its quota; delivery goes on by itself then.',
  },
  DST_SCHEMA_INCOMPATIBLE: {
    reaction: 'hold',
    origin: 'destination',
    type: 'config_error',
    http: 409,
    fix: 'Give the stream a new name or path in the destination, or change the column named in the message back.',
  },
  DST_BUCKET_MISSING: {
    reaction: 'hold',
    origin: 'destination',
    type: 'config_error',
    http: 422,
    fix: "Create the bucket, or correct s3_bucket_name and s3_bucket_region in the destination's configuration.",
  },
  DST_CLOCK_SKEW: {
    reaction: 'retry',
    origin: 'destination',
    type: 'system_error',
    http: 500,
    fix: 'Set the clock of this machine or of the object store: they differ by more than 15 minutes.',
  },
  DST_STATE_LOST: {
    reaction: 'hold',
    origin: 'destination',
    type: 'config_error',
    http: 409,
    fix: 'Restore what was removed from the destination, or move the data away and replay the stream from the beginning.',
  },
  SNK_FENCED: {
    reaction: 'stop',
    origin: 'replication',
    type: 'transient_error',
    http: 409,
    fix: 'Nothing is to be done: another instance has taken the partition over and delivers it.',
  },
  SNK_SCRATCH_FULL: {
    reaction: 'retry',
    origin: 'airbyte_platform',
    type: 'system_error',
    http: 507,
    fix: 'Free space on the disk that holds HEADRACE_HOME.',
  },
  SNK_ENCODER_LOST: {
    reaction: 'retry',
    origin: 'airbyte_platform',
    type: 'system_error',
    http: 500,
    fix: 'Nothing is lost: the file is built again from the topic. If it repeats, raise the memory limit of the sink.',
  },
  BUG_UNEXPECTED: {
    reaction: 'retry',
    origin: 'airbyte_platform',
    type: 'system_error',
    http: 500,
    fix: 'This is a defect of Headrace: report it with the log line that carries the code.',
  },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERROR_CODES;
