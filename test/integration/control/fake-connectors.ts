import type { Connectors } from '../../../connectors/registry.ts';
import type { ConnectorSpec } from '../../../connectors/spi/connector.ts';
import type { Destination } from '../../../connectors/spi/destination.ts';
import type { DiscoveredStream, Source } from '../../../connectors/spi/source.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';

export const SOURCE_DEFINITION = 'aaaaaaaa-0000-4000-8000-000000000001';
export const DESTINATION_DEFINITION = 'aaaaaaaa-0000-4000-8000-000000000002';
export const KEYLESS_DESTINATION_DEFINITION = 'aaaaaaaa-0000-4000-8000-000000000003';

/** A source and destinations that need no server; tests set what they answer. */
export interface FakeConnectors extends Connectors {
  position: () => Promise<string>;
  release: (options: { sourceId: string }) => Promise<void>;
  retainedLogBytes: number | null;
  reachable: boolean;
}

const spec = (name: string, title: string, definitionId: string): ConnectorSpec => ({
  name,
  title,
  definitionId,
  dockerRepository: `airbyte/${name}`,
  documentationUrl: 'https://docs.example/fake',
  connectionSpecification: {
    type: 'object',
    required: ['host', 'port'],
    properties: {
      host: { type: 'string' },
      port: { type: 'integer' },
      password: { type: 'string', airbyte_secret: true },
      tls: {
        oneOf: [
          { required: ['mode'], properties: { mode: { const: 'off' } } },
          {
            required: ['mode', 'pem'],
            properties: { mode: { const: 'on' }, pem: { type: 'string', airbyte_secret: true } },
          },
        ],
      },
    },
  },
});

const stream = (name: string, primaryKey: string[], namespace = 'public'): DiscoveredStream => ({
  stream: { namespace, name },
  jsonSchema: { type: 'object', properties: { id: { type: 'number' } } },
  primaryKey,
  supportedSyncModes: ['full_refresh', 'incremental'],
  sourceDefinedCursor: true,
  cursors: [],
});

const STREAMS = [
  stream('orders', ['id']),
  stream('events', []),
  stream('twice', ['id'], 'a'),
  stream('twice', ['id'], 'b'),
];

/** The same tables without a log. */
const WITHOUT_LOG = STREAMS.map((each) => ({
  ...each,
  jsonSchema: {
    type: 'object',
    properties: { id: { type: 'number' }, at: { type: 'string' }, tag: { type: 'string' } },
  },
  sourceDefinedCursor: false,
  cursors: each.stream.name === 'events' ? [] : ['id', 'at'],
  ...(each.stream.name === 'twice' ? { defaultCursor: 'at' } : {}),
}));

export function fakeConnectors(): FakeConnectors {
  const refuse = (): Promise<never> =>
    Promise.reject(new PipelineError('CFG_INVALID_CONNECTOR', 'no server at that address'));
  const fake: FakeConnectors = {
    reachable: true,
    retainedLogBytes: null,
    position: () => Promise.resolve('0'),
    release: () => Promise.resolve(),
    sources: { names: ['fake'], load: (key) => shelf(key, [source]) },
    destinations: { names: ['fake', 'keyless'], load: (key) => shelf(key, [destination, keyless]) },
  };
  const source: Source = {
    spec: spec('fake', 'Fake source', SOURCE_DEFINITION),
    check: () =>
      fake.reachable
        ? Promise.resolve({ ok: true, message: '', warnings: ['one table has no key'] })
        : Promise.resolve({ ok: false, message: 'wal_level is replica: ALTER SYSTEM SET ...' }),
    discover: (config) =>
      fake.reachable ? Promise.resolve(hasLog(config) ? STREAMS : WITHOUT_LOG) : refuse(),
    hasLog,
    open: refuse,
    read: refuse,
    currentPosition: () => fake.position(),
    release: (options) => fake.release(options),
    heldOnServer: (config) => (typeof config['slot'] === 'string' ? config['slot'] : null),
    retainedLogBytes: () => Promise.resolve(fake.retainedLogBytes),
  };
  const destination: Destination = {
    spec: {
      ...spec('fake', 'Fake destination', DESTINATION_DEFINITION),
      supportedDestinationSyncModes: ['overwrite', 'append', 'append_dedup'],
    },
    check: () => (fake.reachable ? Promise.resolve({ ok: true, message: '' }) : refuse()),
    validateStream(_config, { name }) {
      if (name.length > 20) {
        throw new PipelineError('CFG_INVALID_CONNECTOR', `the name ${name} is too long`);
      }
    },
    open: refuse,
  };
  const keyless: Destination = {
    ...destination,
    spec: {
      ...spec('keyless', 'Keyless destination', KEYLESS_DESTINATION_DEFINITION),
      supportedDestinationSyncModes: ['append'],
    },
  };
  return fake;
}

function shelf<C extends { readonly spec: ConnectorSpec }>(
  key: string,
  connectors: readonly C[],
): Promise<C> {
  const found = connectors.find(({ spec: { name, definitionId } }) =>
    [name, definitionId].includes(key),
  );
  return found === undefined
    ? Promise.reject(new PipelineError('CFG_UNKNOWN_CONNECTOR', `there is no connector ${key}`))
    : Promise.resolve(found);
}

function hasLog({ replication_method: given }: Record<string, unknown>): boolean {
  return (given as { method?: string } | undefined)?.method !== 'Standard';
}
