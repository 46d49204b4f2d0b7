import type { ConnectorSpec } from '../../spi/connector.ts';
import {
  DEFAULT_CONCURRENCY,
  DEFAULT_OVERLAP_SECONDS,
  DEFAULT_WAITING_SECONDS,
  MAX_CONCURRENCY,
  SSL_MODES,
  type SslMode,
} from './config.ts';

const secret = (title: string, order: number) => ({
  type: 'string',
  title,
  airbyte_secret: true,
  multiline: true,
  order,
});

function sslMode(mode: SslMode): Record<string, unknown> {
  const verifies = mode.startsWith('verify');
  return {
    title: mode,
    required: verifies ? ['mode', 'ca_certificate'] : ['mode'],
    properties: {
      mode: { type: 'string', const: mode, order: 0 },
      ...(verifies
        ? {
            ca_certificate: secret('CA Certificate', 1),
            client_certificate: secret('Client Certificate', 2),
            client_key: secret('Client Key', 3),
            client_key_password: secret('Client key password', 4),
          }
        : {}),
    },
  };
}

export const spec: ConnectorSpec = {
  name: 'mysql',
  title: 'MySQL',
  definitionId: '435bb9a5-7887-4809-aa58-28c27df0d7ad',
  dockerRepository: 'airbyte/source-mysql',
  documentationUrl: 'https://docs.airbyte.com/integrations/sources/mysql',
  connectionSpecification: {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'MySQL Source Spec',
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
        default: 3306,
        order: 1,
      },
      database: { type: 'string', title: 'Database', order: 2 },
      username: { type: 'string', title: 'Username', order: 3 },
      password: { type: 'string', title: 'Password', airbyte_secret: true, order: 4 },
      ssl_mode: { title: 'SSL modes', type: 'object', order: 5, oneOf: SSL_MODES.map(sslMode) },
      replication_method: {
        title: 'Update Method',
        type: 'object',
        order: 6,
        oneOf: [
          {
            title: 'Read Changes using the binary log (CDC)',
            required: ['method'],
            properties: {
              method: { type: 'string', const: 'CDC', order: 0 },
              initial_waiting_seconds: {
                type: 'integer',
                title: 'Initial Waiting Time in Seconds',
                description:
                  'How long the first copy waits for XA transactions that were prepared before it.',
                minimum: 1,
                maximum: 86_400,
                default: DEFAULT_WAITING_SECONDS,
                order: 1,
              },
            },
          },
          {
            title: 'Scan Changes with User Defined Cursor',
            required: ['method'],
            properties: {
              method: { type: 'string', const: 'STANDARD', order: 0 },
              cursor_overlap_seconds: {
                type: 'integer',
                title: 'Seconds that a row may be committed late',
                description:
                  'An incremental read by a time looks again at what lies so far below the highest value of the one before, for rows that were not committed then.',
                minimum: 0,
                maximum: 604_800,
                default: DEFAULT_OVERLAP_SECONDS,
                order: 1,
              },
            },
          },
        ],
      },
      concurrency: {
        type: 'integer',
        title: 'Concurrency',
        description: 'Sessions that read tables at once in the first copy.',
        minimum: 1,
        maximum: MAX_CONCURRENCY,
        default: DEFAULT_CONCURRENCY,
        order: 7,
      },
    },
  },
};
