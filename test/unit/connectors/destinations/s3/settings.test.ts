import { expect, test } from 'vitest';
import { readSettings } from '../../../../../connectors/destinations/s3/settings.ts';

test("the configuration in Airbyte's words", () => {
  const settings = readSettings({
    s3_bucket_name: 'datalake',
    s3_bucket_path: 'airbyte-data',
    s3_bucket_region: 'eu-west-3',
    s3_endpoint: 'http://minio:9000/',
    access_key_id: 'key',
    secret_access_key: 'secret',
    format: {
      format_type: 'Parquet',
      compression_codec: 'GZIP',
      block_size_mb: 64,
      max_padding_size_mb: 8,
      dictionary_encoding: true,
    },
  });
  expect(settings).toMatchObject({
    bucket: 'datalake',
    region: 'eu-west-3',
    endpoint: 'http://minio:9000',
    pathStyle: true,
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    codec: 'GZIP',
    rotateBytes: 64 * 1024 * 1024,
    rotateMs: 60_000,
    partitionBy: 'none',
  });
});

test('the labels of the configuration screen', () => {
  const settings = readSettings({
    'S3 Bucket Name': 'datalake',
    'S3 Bucket Path': 'airbyte-data/${STREAM_NAME}',
    'S3 Bucket Region': 'us-east-1',
    'S3 Endpoint': 'http://minio:9000',
    'S3 Key ID': 'key',
    'S3 Access Key': 'secret',
    'Output Format': 'Parquet',
    Compression: 'gzip',
    'Block Size': '128MB',
  });
  expect(settings).toMatchObject({
    bucket: 'datalake',
    bucketPath: 'airbyte-data/${STREAM_NAME}',
    credentials: { accessKeyId: 'key' },
    codec: 'GZIP',
    rotateBytes: 128 * 1024 * 1024,
  });
});

test("Amazon itself: no endpoint, virtual hosts, keys from the machine's role", () => {
  const settings = readSettings({ s3_bucket_name: 'b', format: { format_type: 'Parquet' } });
  expect(settings).toMatchObject({ endpoint: null, pathStyle: false, credentials: null });
});

test('every wrong field is named at once, and no value of a secret', () => {
  const wrong = {
    s3_endpoint: 'minio:9000',
    secret_access_key: 'hidden-value',
    partition_by: 'week',
    rotation_seconds: -1,
    format: { format_type: 'Avro', compression_codec: 'BROTLI', block_size_mb: 'many' },
  };
  const read = (): unknown => readSettings(wrong);
  const named = [
    's3_bucket_name',
    's3_endpoint',
    'access_key_id',
    'partition_by',
    'rotation_seconds',
    'Avro',
    'BROTLI',
    'block_size_mb',
  ];
  for (const part of named) expect(read).toThrow(part);
  expect(read).not.toThrow('hidden-value');
});

test('a folder as the store; what would lead out of it is refused', () => {
  const config = { s3_bucket_name: 'lake', s3_endpoint: 'file:///srv/my%20lake/' };
  expect(readSettings(config)).toMatchObject({ folder: '/srv/my lake', bucket: 'lake' });
  expect(() => readSettings({ ...config, s3_endpoint: 'file://srv' })).toThrow('file:///');
  expect(() => readSettings({ ...config, s3_bucket_path: 'a/../../b' })).toThrow('s3_bucket_path');
});

test("flattening in the guide's words, as text or as Airbyte's object", () => {
  const flatten = (flattening?: unknown): boolean =>
    readSettings({ s3_bucket_name: 'b', format: { format_type: 'Parquet', flattening } }).flatten;
  expect(flatten()).toBe(true);
  expect(flatten('Root level flattening')).toBe(true);
  expect(flatten('No flattening')).toBe(false);
  expect(flatten({ flattening_type: 'No flattening' })).toBe(false);
  expect(() => flatten('deep')).toThrow(/flattening deep/);
});
