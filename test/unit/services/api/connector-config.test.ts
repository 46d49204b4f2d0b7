import { describe, expect, it } from 'vitest';
import { connectors } from '../../../../connectors/registry.ts';
import type { ConnectorSpec } from '../../../../connectors/spi/connector.ts';
import {
  checkConfig,
  maskSecrets,
  unmaskSecrets,
} from '../../../../services/api/connector-config.ts';

const POSTGRES_SOURCE = {
  host: 'db',
  port: 5432,
  database: 'shop',
  username: 'reader',
  password: 'hunter2',
  schemas: ['public'],
  ssl_mode: { mode: 'disable' },
  replication_method: { method: 'CDC', replication_slot: 'slot', publication: 'pub', create: true },
};
const POSTGRES_DESTINATION = {
  host: 'db',
  port: 5432,
  database: 'lake',
  username: 'writer',
  password: 'hunter2',
  schema: 'public',
  ssl_mode: { mode: 'disable' },
};
const S3_DESTINATION = {
  s3_bucket_name: 'lake',
  s3_bucket_path: 'raw',
  s3_bucket_region: 'us-east-1',
  s3_endpoint: 'http://127.0.0.1:9000',
  access_key_id: 'hunter2-id',
  secret_access_key: 'hunter2-key',
  format: { format_type: 'Parquet', compression_codec: 'SNAPPY', block_size_mb: 128 },
};

const real: [string, () => Promise<{ spec: ConnectorSpec }>, Record<string, unknown>][] = [
  ['source postgres', () => connectors.sources.load('postgres'), POSTGRES_SOURCE],
  ['destination postgres', () => connectors.destinations.load('postgres'), POSTGRES_DESTINATION],
  ['destination s3', () => connectors.destinations.load('s3'), S3_DESTINATION],
];

describe.each(real)('%s', (_name, load, config) => {
  it("takes Airbyte's own configuration, unknown fields included", async () => {
    const { spec } = await load();
    checkConfig(spec, config);
    checkConfig(spec, { ...config, a_field_of_the_future: 1 });
  });

  it('masks every secret and nothing else (invariant 8)', async () => {
    const { spec } = await load();
    const masked = maskSecrets(spec, config);
    expect(JSON.stringify(masked)).not.toContain('hunter2');
    const shown = Object.entries(masked).filter(([, value]) => value !== '**********');
    for (const [name, value] of shown) expect(value).toEqual(config[name]);
    expect(unmaskSecrets(masked, config)).toEqual(config);
  });

  it('is found by its definition id as well', async () => {
    const { spec } = await load();
    const shelf = _name.startsWith('source') ? connectors.sources : connectors.destinations;
    expect((await shelf.load(spec.definitionId)).spec).toBe(spec);
  });

  it('names a wrong field without its value', async () => {
    const { spec } = await load();
    const [first = ''] = Object.keys(config);
    const wrong = { ...config, [first]: { text: 'hunter2' } };
    expect(() => checkConfig(spec, wrong)).toThrow(`$.${first}`);
    expect(() => checkConfig(spec, wrong)).not.toThrow('hunter2');
  });
});

it('an unknown connector has a code of its own', async () => {
  await expect(connectors.sources.load('oracle')).rejects.toMatchObject({
    code: 'CFG_UNKNOWN_CONNECTOR',
  });
});
