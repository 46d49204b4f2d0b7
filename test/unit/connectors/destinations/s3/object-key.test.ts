import { describe, expect, test } from 'vitest';
import { destination } from '../../../../../connectors/destinations/s3/destination.ts';
import {
  controlPrefix,
  dataKey,
  pathSegment,
  streamPrefix,
} from '../../../../../connectors/destinations/s3/object-key.ts';
import { readSettings } from '../../../../../connectors/destinations/s3/settings.ts';
import type { DestinationStream } from '../../../../../connectors/spi/destination.ts';

const STREAM: DestinationStream = {
  stream: { namespace: 'public', name: 'customers' },
  namespace: 'production_public',
  name: 'customers',
  mode: 'append',
  primaryKey: ['id'],
};
const RANGE = {
  id: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  first: 7,
  end: 12,
  createdAt: Date.UTC(2025, 0, 2, 3, 4, 5, 6),
};
const PART = 'mark-3-00000000000000000007-00000000000000000012';

function settingsOf(config: Record<string, unknown>) {
  return readSettings({ s3_bucket_name: 'b', format: { format_type: 'Parquet' }, ...config });
}

function keyOf(config: Record<string, unknown>, stream = STREAM, folder = ''): string {
  const target = { stream, topic: 't', partition: 3 };
  return dataKey(settingsOf(config), target, 'mark-3', RANGE, folder);
}

test.each([
  [
    { s3_bucket_path: 'airbyte-data/${NAMESPACE}/${STREAM_NAME}' },
    `airbyte-data/production_public/customers/2025_01_02_1735787045006_${PART}.parquet`,
  ],
  [
    { s3_bucket_path: '/lake//raw/' },
    `lake/raw/production_public/customers/2025_01_02_1735787045006_${PART}.parquet`,
  ],
  [
    { s3_bucket_path: 'a/${STREAM_NAME}', s3_path_format: '${NAMESPACE}/${YEAR}/${MONTH}/${DAY}/' },
    `a/customers/production_public/2025/01/02/${PART}.parquet`,
  ],
  [
    { s3_path_format: '${HOUR}/${MINUTE}/${SECOND}/${MILLISECOND}/${UUID}/${OTHER}/' },
    `03/04/05/0006/${RANGE.id}/\${OTHER}/${PART}.parquet`,
  ],
  [
    {
      s3_path_format: '${STREAM_NAME}/',
      file_name_pattern: '{date}-{date:yyyy}-{timestamp}-{sync_id}',
    },
    `customers/2025_01_02-2025-1735787045006-0_${PART}.parquet`,
  ],
  [
    { s3_path_format: '${STREAM_NAME}/', file_name_pattern: 'x{part_number}{format_extension}' },
    `customers/x${PART}.parquet`,
  ],
])('%o', (config, key) => {
  expect(keyOf(config)).toBe(key);
});

test('a stream without a namespace has no empty segment', () => {
  const stream = { ...STREAM, namespace: null };
  expect(keyOf({ s3_bucket_path: 'a/${NAMESPACE}/${STREAM_NAME}' }, stream)).toMatch(
    /^a\/customers\/2025/,
  );
});

test('date folders stand between the folder and the file', () => {
  const key = keyOf({ s3_bucket_path: 'a/${STREAM_NAME}' }, STREAM, 'dt=2025-01-02/');
  expect(key).toBe(`a/customers/dt=2025-01-02/2025_01_02_1735787045006_${PART}.parquet`);
});

test('claims lie outside of every stream, in a segment that readers skip', () => {
  const target = { stream: STREAM, topic: 'pre.shop.public.customers', partition: 3 };
  const settings = settingsOf({ s3_bucket_path: 'airbyte-data/${NAMESPACE}/${STREAM_NAME}' });
  expect(controlPrefix(settings, 'c1', target)).toBe(
    'airbyte-data/_headrace/c1/pre.shop.public.customers/3/',
  );
  expect(streamPrefix(settings, target)).toBe('airbyte-data/production_public/customers/');
  expect(controlPrefix(settingsOf({}), 'c1', target)).toBe(
    '_headrace/c1/pre.shop.public.customers/3/',
  );
});

test.each([
  ['customers', 'customers'],
  ['Größe & Co.', 'Größe & Co.'],
  ['..', '%2E%2E'],
  ['.', '%2E'],
  ['a/../b', 'a%2F..%2Fb'],
  ['dt=2025', 'dt%3D2025'],
  ['a%2Fb', 'a%252Fb'],
  ['line\nbreak', 'line%0Abreak'],
])('segment %j', (name, segment) => {
  expect(pathSegment(name)).toBe(segment);
});

describe('validateStream', () => {
  const config = { s3_bucket_name: 'b', s3_bucket_path: 'p', format: { format_type: 'Parquet' } };
  test('refuses what cannot be delivered, with a sentence', () => {
    expect(() => destination.validateStream(config, STREAM)).not.toThrow();
    expect(() =>
      destination.validateStream(config, { ...STREAM, mode: 'append_dedup', primaryKey: [] }),
    ).toThrow('append_dedup needs a primary key');
    expect(() => destination.validateStream(config, { ...STREAM, name: 'é'.repeat(600) })).toThrow(
      'at most 1024 are allowed',
    );
  });
});
