import { fileURLToPath } from 'node:url';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { CODECS, type Codec } from './codecs.ts';

export type PartitionBy = 'none' | 'day' | 'hour';

/** The configuration, checked and with its defaults. */
export interface S3Settings {
  readonly bucket: string;
  readonly bucketPath: string;
  readonly region: string;
  /** Folder of this machine instead of a store: an endpoint `file:///folder`. */
  readonly folder: string | null;
  /** null means Amazon's own. */
  readonly endpoint: string | null;
  readonly pathStyle: boolean;
  /** null means the SDK's own search (instance role). */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | null;
  /** null means the default of `object-key.ts`. */
  readonly pathFormat: string | null;
  readonly fileNamePattern: string | null;
  readonly codec: Codec;
  /** Fields of JSON documents have columns of their own. */
  readonly flatten: boolean;
  readonly rotateBytes: number;
  readonly rotateRows: number;
  readonly rotateMs: number;
  readonly pageBytes: number;
  readonly partitionBy: PartitionBy;
  /** How long a replaced generation stays for readers that have begun with it. */
  readonly retentionMs: number;
  /** Mode append: so many small files become one; null never. */
  readonly joinFiles: number | null;
  /** The newest generation's files lie in the stream's folder too. */
  readonly plainFolder: boolean;
}

/** Screen labels and older names of the fields, reduced to lower case and `_`. */
const ALIASES: Record<string, string> = {
  bucket: 's3_bucket_name',
  bucket_name: 's3_bucket_name',
  bucket_path: 's3_bucket_path',
  path: 's3_bucket_path',
  region: 's3_bucket_region',
  bucket_region: 's3_bucket_region',
  endpoint: 's3_endpoint',
  s3_key_id: 'access_key_id',
  access_key: 'access_key_id',
  s3_access_key: 'secret_access_key',
  secret_key: 'secret_access_key',
  path_format: 's3_path_format',
  output_format: 'format',
  compression: 'compression_codec',
  compression_type: 'compression_codec',
  block_size: 'block_size_mb',
  page_size: 'page_size_kb',
};

type Fields = Record<string, unknown>;

function withPlainNames(config: unknown): Fields {
  if (typeof config !== 'object' || config === null) return {};
  const entries = Object.entries(config).map(([label, value]): [string, unknown] => {
    const name = label.toLowerCase().replace(/[^a-z0-9]+/g, '_');
    return [ALIASES[name] ?? name, value];
  });
  return Object.fromEntries(entries);
}

/** Reads a configuration; every wrong field is named in one CFG_INVALID_CONNECTOR. */
export function readSettings(config: Record<string, unknown>): S3Settings {
  const fields = withPlainNames(config);
  const format = readFormat(fields);
  const problems: string[] = [];
  const bucket = text(fields, 's3_bucket_name');
  if (bucket === '') problems.push('s3_bucket_name is missing');
  const endpoint = text(fields, 's3_endpoint').replace(/\/+$/, '');
  const folder = readFolder(fields, endpoint, problems);
  if (folder === null && endpoint !== '' && !/^https?:\/\/[^/]+/i.test(endpoint)) {
    problems.push('s3_endpoint must begin with http://, https:// or file:///');
  }
  const accessKeyId = text(fields, 'access_key_id');
  const secretAccessKey = text(fields, 'secret_access_key');
  if ((accessKeyId === '') !== (secretAccessKey === '')) {
    problems.push('access_key_id and secret_access_key go together: one of them is missing');
  }
  const settings: S3Settings = {
    bucket,
    bucketPath: text(fields, 's3_bucket_path'),
    folder,
    region: text(fields, 's3_bucket_region') || 'us-east-1',
    endpoint: endpoint === '' ? null : endpoint,
    pathStyle: endpoint !== '' && !/\.amazonaws\.com(\.cn)?$/i.test(endpoint),
    credentials: accessKeyId === '' ? null : { accessKeyId, secretAccessKey },
    pathFormat: text(fields, 's3_path_format') || null,
    fileNamePattern: text(fields, 'file_name_pattern') || null,
    codec: readCodec(format, problems),
    flatten: readFlattening(format, problems),
    rotateBytes: positive(format, 'block_size_mb', 128, problems) * 1024 * 1024,
    pageBytes: positive(format, 'page_size_kb', 1024, problems) * 1024,
    rotateRows: positive(fields, 'rotation_rows', 250_000, problems),
    rotateMs: positive(fields, 'rotation_seconds', 60, problems) * 1000,
    partitionBy: readPartitionBy(fields, problems),
    retentionMs: positive(fields, 'generation_retention_seconds', 900, problems) * 1000,
    joinFiles:
      fields['join_small_files'] === true
        ? positive(fields, 'join_from_files', 10, problems)
        : null,
    plainFolder: fields['plain_folder'] !== false,
  };
  if (problems.length > 0) {
    throw new PipelineError('CFG_INVALID_CONNECTOR', problems.join('; '));
  }
  return settings;
}

/** A path that could lead out of the bucket is refused: keys are paths there. */
function readFolder(fields: Fields, endpoint: string, problems: string[]): string | null {
  if (!/^file:/i.test(endpoint)) return null;
  if (!/^file:\/\/\/./i.test(endpoint)) {
    problems.push('s3_endpoint with file: must be file:///absolute/folder');
    return null;
  }
  for (const name of ['s3_bucket_name', 's3_bucket_path', 's3_path_format', 'file_name_pattern']) {
    if (!text(fields, name).split('/').includes('..')) continue;
    problems.push(`${name} must not lead out of the folder`);
  }
  return fileURLToPath(endpoint);
}

/** `format` is an object in Airbyte's form, a bare name with fields beside it on the guide's screen. */
function readFormat(fields: Fields): Fields {
  const format = fields['format'];
  if (typeof format === 'string') return { ...fields, format_type: format };
  return { ...fields, ...withPlainNames(format) };
}

function readCodec(format: Fields, problems: string[]): Codec {
  const type = text(format, 'format_type') || 'Parquet';
  if (type.toLowerCase() !== 'parquet') {
    problems.push(`format_type ${type} is not supported: the only format is Parquet`);
  }
  const given = format['compression_codec'];
  const name =
    typeof given === 'object' && given !== null
      ? text(withPlainNames(given), 'compression_codec')
      : text(format, 'compression_codec');
  const upper = (name || 'SNAPPY').toUpperCase().replace(/^(NONE|NO COMPRESSION)$/, 'UNCOMPRESSED');
  const codec = CODECS.find((known) => known === upper);
  if (codec === undefined) {
    problems.push(`compression_codec ${name} is not supported: use one of ${CODECS.join(', ')}`);
  }
  return codec ?? 'UNCOMPRESSED';
}

/** A text, or an object around it, as Airbyte has it for its formats of lines. */
function readFlattening(format: Fields, problems: string[]): boolean {
  const given = format['flattening'];
  const name =
    typeof given === 'object' && given !== null
      ? text(withPlainNames(given), 'flattening_type')
      : text(format, 'flattening');
  if (name === '' || /^root level flattening$/i.test(name)) return true;
  if (!/^no flattening$/i.test(name)) {
    problems.push(`flattening ${name} is not known: use Root level flattening or No flattening`);
  }
  return false;
}

function readPartitionBy(fields: Fields, problems: string[]): PartitionBy {
  const value = text(fields, 'partition_by') || 'none';
  if (value === 'none' || value === 'day' || value === 'hour') return value;
  problems.push('partition_by must be none, day or hour');
  return 'none';
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  return typeof value === 'string' ? value.trim() : '';
}

/** A number, or its text with a unit behind (`128MB`). */
function positive(fields: Fields, name: string, otherwise: number, problems: string[]): number {
  const value = fields[name];
  if (value === undefined || value === null || value === '') return otherwise;
  const number = typeof value === 'string' ? Number(value.replace(/\s*[a-z]+$/i, '')) : value;
  if (typeof number === 'number' && number > 0 && Number.isFinite(number)) return number;
  problems.push(`${name} must be a number above 0`);
  return otherwise;
}
