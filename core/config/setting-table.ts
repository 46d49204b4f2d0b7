import { JOB_SETTINGS } from './job-settings.ts';

interface Common {
  readonly secret: boolean;
  /** One sentence. */
  readonly description: string;
  /** Airbyte's name for it, read when ours is not set. */
  readonly alias?: string;
}

export type SettingSpec = Common &
  (
    | { readonly type: 'text' | 'folder'; readonly default: string | null }
    | { readonly type: 'list'; readonly default: null }
    | { readonly type: 'switch'; readonly default: boolean }
    | {
        readonly type: 'integer';
        readonly default: number;
        readonly min: number;
        readonly max: number;
      }
    | {
        readonly type: 'choice';
        readonly default: string | null;
        readonly choices: readonly string[];
      }
    | { readonly type: 'url'; readonly default: null; readonly schemes: readonly string[] }
  );

const port = { type: 'integer', min: 0, max: 65_535, secret: false } as const;

/** Every setting there is, under its full environment name. */
export const SETTINGS = {
  HEADRACE_HOME: {
    type: 'folder',
    default: '.headrace',
    secret: false,
    description: 'Data folder: embedded store, local servers, scratch files.',
  },
  HEADRACE_CACHE: {
    type: 'folder',
    default: null,
    secret: false,
    description: 'Folder for downloaded server programs; ~/.cache/headrace when not set.',
  },
  HEADRACE_KAFKA_BROKERS: {
    type: 'list',
    default: null,
    secret: false,
    description: "Kafka's bootstrap addresses, host:port separated by commas.",
  },
  HEADRACE_KAFKA_TLS: {
    type: 'switch',
    default: false,
    secret: false,
    description: 'Speak TLS to Kafka.',
  },
  HEADRACE_KAFKA_TLS_CA_FILE: {
    type: 'text',
    default: null,
    secret: false,
    description:
      "PEM file of the authority that signs the brokers' certificates; the system's when not set.",
  },
  HEADRACE_KAFKA_TLS_CERTIFICATE_FILE: {
    type: 'text',
    default: null,
    secret: false,
    description: 'PEM file of the certificate to show to brokers that ask for one.',
  },
  HEADRACE_KAFKA_TLS_KEY_FILE: {
    type: 'text',
    default: null,
    secret: false,
    description: "PEM file of the certificate's key.",
  },
  HEADRACE_KAFKA_SASL_MECHANISM: {
    type: 'choice',
    default: null,
    choices: ['plain', 'scram-sha-256', 'scram-sha-512'],
    secret: false,
    description: 'How to log in to Kafka; no login when not set.',
  },
  HEADRACE_KAFKA_SASL_USERNAME: {
    type: 'text',
    default: null,
    secret: false,
    description: 'User name for Kafka.',
  },
  HEADRACE_KAFKA_SASL_PASSWORD: {
    type: 'text',
    default: null,
    secret: true,
    description: 'Password for Kafka.',
  },
  HEADRACE_STORE_URL: {
    type: 'url',
    default: null,
    schemes: ['postgres', 'postgresql'],
    secret: false,
    description:
      'Postgres database of the control plane; an embedded one under HEADRACE_HOME when not set.',
  },
  HEADRACE_SCHEMA_REGISTRY_URL: {
    type: 'url',
    default: null,
    schemes: ['http', 'https'],
    secret: false,
    description: 'Confluent-compatible schema registry; our own, kept in Kafka, when not set.',
  },
  HEADRACE_API_HOST: {
    type: 'text',
    default: '127.0.0.1',
    secret: false,
    description: 'Address that the API, health and metrics listen on.',
  },
  HEADRACE_API_PORT: {
    ...port,
    default: 8001,
    description: 'Port of the API, health and metrics; 0 takes any free one.',
  },
  HEADRACE_WEB_PORT: {
    ...port,
    default: 8000,
    description: "Second port of the API, where Airbyte's web page is; 0 for none.",
  },
  HEADRACE_WEB_URL: {
    type: 'url',
    default: null,
    schemes: ['http', 'https'],
    secret: false,
    alias: 'WEBAPP_URL',
    description:
      'Address of the web page as people reach it, for links in alerts; none when not set.',
  },
  HEADRACE_API_TOKEN: {
    type: 'text',
    default: null,
    secret: true,
    description: 'Bearer token that every call but health must carry; none is asked when not set.',
  },
  HEADRACE_API_REQUESTS_PER_SECOND: {
    type: 'integer',
    default: 1000,
    min: 1,
    max: 1_000_000,
    secret: false,
    description:
      'Requests that one caller may make in a second; a fiftieth of it may log in to other servers (check, discover).',
  },
  HEADRACE_AUDIT_READS: {
    type: 'switch',
    default: false,
    secret: false,
    description: 'Write calls that only read to the audit log too.',
  },
  HEADRACE_OUTGOING_ALLOW: {
    type: 'list',
    default: null,
    secret: false,
    description:
      'Hosts, host:port or CIDR ranges that webhooks may reach although they are private, without TLS or on another port than 443.',
  },
  HEADRACE_TOPIC_PREFIX: {
    type: 'text',
    default: 'headrace',
    secret: false,
    description: 'First part of the name of every topic, group and transactional id.',
  },
  HEADRACE_TOPIC_PARTITIONS: {
    type: 'integer',
    default: 1,
    min: 1,
    max: 1000,
    secret: false,
    description: 'Partitions of a new topic whose stream has a key.',
  },
  HEADRACE_TOPIC_COMPRESSION: {
    type: 'choice',
    default: 'none',
    choices: ['none', 'zstd', 'lz4', 'snappy', 'gzip'],
    secret: false,
    description:
      'How a source compresses what it writes to topics; each codec is read, whatever is set here.',
  },
  HEADRACE_MEMORY_MB: {
    type: 'integer',
    default: 200,
    min: 32,
    max: 65_536,
    secret: false,
    description:
      'Memory, in MiB, that a process with one role stays below; all its buffers share what the program leaves of it.',
  },
  HEADRACE_RESOURCES_FILE: {
    type: 'folder',
    default: null,
    secret: false,
    description:
      "File with Airbyte's `resources` (memory and processors); config/airbyte/config.yaml, if it is there, when not set.",
  },
  HEADRACE_LOG_LEVEL: {
    type: 'choice',
    default: 'info',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    secret: false,
    description: 'Least severe log lines that are written.',
  },
  HEADRACE_SECRET_KEY: {
    type: 'text',
    default: null,
    secret: true,
    description: 'Passphrase that connector configurations are encrypted with in the store.',
  },
  HEADRACE_SECRET_KEY_PREVIOUS: {
    type: 'text',
    default: null,
    secret: true,
    description:
      'Passphrase before a change of it: what was encrypted with it is still read. headrace reseal makes it dispensable.',
  },
  ...JOB_SETTINGS,
  HEADRACE_SECRET_ENV_PREFIX: {
    type: 'text',
    default: 'CONNECTOR_SECRET_',
    secret: false,
    description:
      'Beginning of the variables that ${env:NAME} in a secret field of a connector may name.',
  },
  HEADRACE_SECRET_FOLDER: {
    type: 'folder',
    default: null,
    secret: false,
    description: 'Folder of the files that ${file:name} in a secret field of a connector may name.',
  },
  HEADRACE_DBT_COMMAND: {
    type: 'text',
    default: null,
    secret: false,
    description:
      'Path of the dbt program that operations of type dbt run; none is run when not set.',
  },
  HEADRACE_DBT_PROJECTS: {
    type: 'folder',
    default: null,
    secret: false,
    description: 'Folder whose subfolders are the dbt projects that operations may run.',
  },
  HEADRACE_FAILPOINTS: {
    type: 'text',
    default: null,
    secret: false,
    description: 'Faults to inject in a test, name=action separated by semicolons.',
  },
  HEADRACE_FAILPOINTS_ALLOWED: {
    type: 'switch',
    default: false,
    secret: false,
    description: 'Must be yes for HEADRACE_FAILPOINTS to have any effect.',
  },
} as const satisfies Record<`HEADRACE_${string}`, SettingSpec>;

export type SettingName = keyof typeof SETTINGS;
