import type { ConnectorSpec } from '../../spi/connector.ts';

const secretText = (title: string, order: number) => ({
  type: 'string',
  title,
  airbyte_secret: true,
  multiline: true,
  order,
});

const sslMode = (mode: string, extra: Record<string, unknown> = {}, required: string[] = []) => ({
  title: mode,
  required: ['mode', ...required],
  properties: { mode: { type: 'string', const: mode, order: 0 }, ...extra },
});

const clientCertificate = {
  client_certificate: secretText('Client Certificate', 2),
  client_key: secretText('Client Key', 3),
  client_key_password: secretText('Client key password', 4),
};

const SSL_MODE = {
  title: 'SSL Modes',
  type: 'object',
  order: 7,
  oneOf: [
    sslMode('disable'),
    sslMode('allow'),
    sslMode('prefer'),
    sslMode('require'),
    sslMode(
      'verify-ca',
      { ca_certificate: secretText('CA Certificate', 1), ...clientCertificate },
      ['ca_certificate'],
    ),
    sslMode(
      'verify-full',
      { ca_certificate: secretText('CA Certificate', 1), ...clientCertificate },
      ['ca_certificate'],
    ),
  ],
};

const REPLICATION_METHOD = {
  title: 'Update Method',
  type: 'object',
  order: 8,
  oneOf: [
    {
      title: 'Read Changes using Write-Ahead Log (CDC)',
      required: ['method', 'replication_slot', 'publication'],
      properties: {
        method: { type: 'string', const: 'CDC', order: 0 },
        plugin: { type: 'string', enum: ['pgoutput'], default: 'pgoutput', order: 1 },
        replication_slot: {
          type: 'string',
          title: 'Replication Slot',
          pattern: '^[a-z0-9_]{1,63}$',
          order: 2,
        },
        publication: { type: 'string', title: 'Publication', order: 3 },
        create: {
          type: 'boolean',
          title: 'Create slot and publication',
          description:
            'Create the slot and the publication when they are missing, and add tables to it.',
          default: false,
          order: 4,
        },
        initial_waiting_seconds: {
          type: 'integer',
          title: 'Initial Waiting Time in Seconds',
          default: 1200,
          minimum: 1,
          maximum: 86400,
          order: 5,
        },
      },
    },
    {
      title: 'Scan Changes with User Defined Cursor',
      required: ['method'],
      properties: { method: { type: 'string', const: 'Standard', order: 0 } },
    },
  ],
};

export const spec: ConnectorSpec = {
  name: 'postgres',
  title: 'Postgres',
  definitionId: 'decd338e-5647-4c0b-adf4-da0e75f5a750',
  dockerRepository: 'airbyte/source-postgres',
  documentationUrl: 'https://docs.airbyte.com/integrations/sources/postgres',
  connectionSpecification: {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Postgres Source Spec',
    type: 'object',
    required: ['host', 'port', 'database', 'username'],
    additionalProperties: true,
    properties: {
      host: { type: 'string', title: 'Host', order: 0 },
      port: {
        type: 'integer',
        title: 'Port',
        minimum: 0,
        maximum: 65536,
        default: 5432,
        order: 1,
      },
      database: { type: 'string', title: 'Database Name', order: 2 },
      schemas: {
        type: 'array',
        title: 'Schemas',
        items: { type: 'string' },
        uniqueItems: true,
        default: ['public'],
        order: 3,
      },
      username: { type: 'string', title: 'Username', order: 4 },
      password: { type: 'string', title: 'Password', airbyte_secret: true, order: 5 },
      ssl_mode: SSL_MODE,
      replication_method: REPLICATION_METHOD,
    },
  },
};
