import { createHash } from 'node:crypto';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { PartitionTarget } from '../../spi/destination.ts';
import type { S3Settings } from './settings.ts';

/**
 * Names of our objects. A data file's key is a function of its claim alone: time variables come
 * from the claim's creation time and the offsets stand in the name, so that whoever finishes a
 * claim, now or after a crash, writes the same key (invariant 6).
 */

const MAX_KEY_BYTES = 1024;
const NAME_FORMAT = '${YEAR}_${MONTH}_${DAY}_${EPOCH}_';
const DEFAULT_FORMAT = '${NAMESPACE}/${STREAM_NAME}/' + NAME_FORMAT;

export interface ClaimedRange {
  /** Random id of the claim; serves `${UUID}`. */
  readonly id: string;
  readonly first: number;
  readonly end: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

/** A name as one path segment: exactly itself unless it holds what would change the path's meaning. */
export function pathSegment(name: string): string {
  if (name === '.' || name === '..') return '%2E'.repeat(name.length);
  return name.replace(/[\u0000-\u001f\u007f/\\%=]/g, (char) => {
    return `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

/** Marks the files of one connection and partition: the start of every file name's unique part. */
export function ownerMark(connectionId: string, target: PartitionTarget): string {
  const hash = createHash('sha256').update(`${connectionId}\0${target.topic}`).digest('hex');
  return `${hash.slice(0, 8)}-${target.partition}`;
}

/** The same with the number of the rebuild that the files are; those delivered first have none. */
export function fileMark(owner: string, rebuild: number): string {
  return rebuild === 0 ? owner : `${owner}-r${rebuild}`;
}

/** Names topic and partition in row ids. */
export function rowIdHash({ topic, partition }: PartitionTarget): string {
  return createHash('sha256').update(`${topic}\0${partition}`).digest('hex');
}

/** Where the claims of one partition lie: outside every stream's folder, in a segment that readers
 * of data folders skip. */
export function controlPrefix(
  settings: S3Settings,
  connectionId: string,
  target: PartitionTarget,
): string {
  const root = settings.bucketPath.split('/');
  const variable = root.findIndex((segment) => segment.includes('${'));
  const fixed = variable === -1 ? root : root.slice(0, variable);
  const parts = [...fixed, '_headrace', connectionId, target.topic, String(target.partition)];
  return `${joined(parts)}/`;
}

export function offsetText(offset: number): string {
  return String(offset).padStart(20, '0');
}

/** The key of a claim's file. `folder` is the date folder (`dt=2025-01-31/`) or empty. */
export function dataKey(
  settings: S3Settings,
  target: PartitionTarget,
  mark: string,
  range: ClaimedRange,
  folder: string,
): string {
  const path = `${settings.bucketPath}/${pathFormat(settings)}`;
  const rendered = joined([fillVariables(path, target, range)]);
  const slash = rendered.lastIndexOf('/') + 1;
  const key = `${rendered.slice(0, slash)}${folder}${rendered.slice(slash)}${fileName(settings, mark, range)}`;
  return checkedLength(key, target);
}

/** The part of the stream's keys that no time variable is in: where to look for files of ours. */
export function streamPrefix(settings: S3Settings, target: PartitionTarget): string {
  const path = `${settings.bucketPath}/${pathFormat(settings)}`;
  const cut = path.search(/\$\{(?!NAMESPACE|STREAM_NAME)/);
  const fixed = fillVariables(cut === -1 ? path : path.slice(0, cut), target, null);
  return joined([fixed]);
}

/** Folder, with a slash behind, that all files of a stream lie in or below. */
export function streamFolder(settings: S3Settings, target: PartitionTarget): string {
  const prefix = streamPrefix(settings, target);
  return prefix.slice(0, prefix.lastIndexOf('/') + 1);
}

/** Where readers find which rebuild of a partition to take, with a slash behind. */
export function rebuildsFolder(settings: S3Settings, target: PartitionTarget): string {
  return `${streamFolder(settings, target)}_rebuilds/`;
}

function pathFormat(settings: S3Settings): string {
  if (settings.pathFormat !== null) return settings.pathFormat;
  // A bucket path that names the stream holds its files directly, as users of that form expect.
  return settings.bucketPath.includes('${STREAM_NAME}') ? NAME_FORMAT : DEFAULT_FORMAT;
}

function joined(parts: readonly string[]): string {
  return parts
    .join('/')
    .replace(/\/{2,}/g, '/')
    .replace(/^\//, '');
}

function fillVariables(path: string, target: PartitionTarget, range: ClaimedRange | null): string {
  const { namespace, name } = target.stream;
  const values: Record<string, string> = {
    NAMESPACE: namespace === null ? '' : pathSegment(namespace),
    STREAM_NAME: pathSegment(name),
    ...(range === null ? {} : timeVariables(range)),
  };
  return path.replace(/\$\{([A-Z_]+)\}/g, (whole, variable: string) => values[variable] ?? whole);
}

function timeVariables(range: ClaimedRange): Record<string, string> {
  const iso = new Date(range.createdAt).toISOString();
  return {
    YEAR: iso.slice(0, 4),
    MONTH: iso.slice(5, 7),
    DAY: iso.slice(8, 10),
    HOUR: iso.slice(11, 13),
    MINUTE: iso.slice(14, 16),
    SECOND: iso.slice(17, 19),
    MILLISECOND: `0${iso.slice(20, 23)}`,
    EPOCH: String(range.createdAt),
    UUID: range.id,
  };
}

/** `{part_number}` is what makes a name unique, so a pattern without it gets it before its extension. */
function fileName(settings: S3Settings, mark: string, range: ClaimedRange): string {
  const part = `${mark}-${offsetText(range.first)}-${offsetText(range.end)}`;
  const pattern = settings.fileNamePattern ?? '{part_number}{format_extension}';
  const iso = new Date(range.createdAt).toISOString();
  const filled = pattern
    .replaceAll('{part_number}', part)
    .replaceAll('{format_extension}', '.parquet')
    .replaceAll('{sync_id}', '0')
    .replaceAll('{timestamp:millis}', String(range.createdAt))
    .replaceAll('{timestamp:micros}', `${range.createdAt}000`)
    .replaceAll('{timestamp}', String(range.createdAt))
    .replace(/\{date(?::([^}]*))?\}/g, (_, form: string | undefined) =>
      (form ?? 'yyyy_MM_dd')
        .replaceAll('yyyy', iso.slice(0, 4))
        .replaceAll('MM', iso.slice(5, 7))
        .replaceAll('dd', iso.slice(8, 10))
        .replaceAll('HH', iso.slice(11, 13))
        .replaceAll('mm', iso.slice(14, 16))
        .replaceAll('ss', iso.slice(17, 19)),
    )
    .replace(/\.parquet$/, '');
  return `${filled.includes(part) ? filled : `${filled}_${part}`}.parquet`;
}

function checkedLength(key: string, target: PartitionTarget): string {
  const bytes = Buffer.byteLength(key);
  if (bytes <= MAX_KEY_BYTES) return key;
  const label = streamLabel(target.stream.stream);
  throw new PipelineError(
    'CFG_INVALID_CONNECTOR',
    `the objects of stream ${label} would have keys of ${bytes} bytes; at most ${MAX_KEY_BYTES} are allowed: shorten s3_bucket_path, the prefix or the namespace`,
    { details: { stream: label, bytes } },
  );
}
