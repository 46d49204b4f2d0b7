import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  asyncBufferFromFile,
  parquetMetadataAsync,
  parquetReadObjects,
  type FileMetaData,
} from 'hyparquet';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import {
  eventIdentity,
  type AppendedRow,
  type KeptEvents,
  type OpenAppendedCopy,
} from '../../spi/comparison.ts';
import type { DestinationMode, PartitionTarget } from '../../spi/destination.ts';
import { ClaimChain } from './claim-chain.ts';
import { DECOMPRESSORS } from './codecs.ts';
import { fileRange, sortFiles, type FileRange } from './file-ranges.ts';
import { GenerationChain, generationPlace } from './generation-chain.ts';
import { ownerMark, rowIdHash, streamPrefix } from './object-key.ts';
import type { ObjectStore } from './object-store.ts';
import { openStore } from './open-store.ts';
import { Rebuilds } from './rebuilds.ts';
import { KeyTally } from './repeated-keys.ts';
import { RowIds } from './row-ids.ts';
import { readSettings, type S3Settings } from './settings.ts';
import type { FileLayout } from './spool-builder.ts';

const COLUMNS = [
  '_airbyte_ab_id',
  '_headrace_epoch',
  '_ab_cdc_lsn',
  '_headrace_seq',
  '_ab_cdc_deleted_at',
];

interface FileRow {
  readonly _airbyte_ab_id: string;
  readonly _headrace_epoch: bigint;
  readonly _ab_cdc_lsn: bigint;
  readonly _headrace_seq: bigint;
  readonly _ab_cdc_deleted_at: unknown;
}

/** The Parquet files of a stream, to be compared with the topic: as any reader of its folder finds them,
 * or those that the newest generations name. */
export const openAppendedFiles: OpenAppendedCopy = async (options) => {
  const { stream, topic, partitions, connectionId } = options;
  const settings = readSettings(options.config);
  const store = openStore(settings);
  const target = (partition: number): PartitionTarget => ({ stream, topic, partition });
  const folder = join(options.scratchFolder, `verify-${randomUUID()}`);
  await mkdir(folder, { recursive: true });
  const ids = partitions.map((p) => ({ partition: p, ids: new RowIds(rowIdHash(target(p))) }));
  const partitionOf = (id: string): Pick<AppendedRow, 'partition' | 'offset'> => {
    for (const each of ids) {
      const offset = each.ids.offsetOf(id);
      if (offset !== null) return { partition: each.partition, offset };
    }
    return { partition: -1, offset: 0 };
  };
  const chosen =
    stream.mode === 'append'
      ? () => claimedFiles(store, settings, connectionId, partitions.map(target))
      : () => publishedFiles(store, settings, connectionId, partitions.map(target));
  return {
    keeps: KEPT[stream.mode],
    async look(work) {
      const { keys, layout, ...range } = await chosen();
      const files: FilesOnDisk = { store, keys, path: join(folder, 'file.parquet') };
      const view = { ...range, rows: () => rowsOf(files, partitionOf) };
      if (stream.mode !== 'append' || stream.primaryKey.length === 0) return work(view);
      const names = stream.primaryKey.map((key) => columnNamed(layout, key));
      const repeatedKeys = () => countRepeatedKeys(files, names, join(folder, 'keys'));
      return work({ ...view, repeatedKeys });
    },
    async close() {
      store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

const KEPT: Record<DestinationMode, KeptEvents> = {
  append: 'every',
  append_dedup: 'newest',
  overwrite: 'generation',
};

interface ChosenFiles {
  /** Null while there are no files. */
  readonly layout: FileLayout | null;
  readonly ends: ReadonlyMap<number, number>;
  readonly starts?: ReadonlyMap<number, number>;
  keys(): AsyncIterable<string>;
}

async function claimedFiles(
  store: ObjectStore,
  settings: S3Settings,
  connectionId: string,
  targets: readonly PartitionTarget[],
): Promise<ChosenFiles> {
  const ends = new Map<number, number>();
  const starts = new Map<number, number>();
  const numbers = new Map<string, number>();
  let layout: FileLayout | null = null;
  for (const target of targets) {
    const { partition } = target;
    const rebuilds = new Rebuilds(store, settings, connectionId, target);
    const shown = await rebuilds.shownRebuild();
    const { number, prefix } = rebuilds.set(shown?.number ?? 0);
    const { tail, finished } = await new ClaimChain(store, prefix).load();
    layout ??= tail?.layout ?? null;
    // A chain that a rebuild has ended says in its last link what was not delivered of it.
    const isWhole = finished && tail?.closedBy === undefined;
    ends.set(partition, (isWhole ? tail?.end : tail?.first) ?? 0);
    if (shown !== null) starts.set(partition, shown.from);
    numbers.set(ownerMark(connectionId, target), number);
  }
  const [first] = targets;
  const prefix = first === undefined ? null : streamPrefix(settings, first);
  return {
    ends,
    starts,
    layout,
    async *keys() {
      if (prefix === null) return;
      const files: FileRange[] = [];
      for await (const object of store.objects(prefix)) {
        const file = fileRange(object);
        const isShown = file !== null && file.rebuild === (numbers.get(file.owner) ?? file.rebuild);
        if (isShown) files.push(file);
        else if (file === null && object.key.endsWith('.parquet')) yield object.key;
      }
      // Those that lie within another were joined into it.
      for (const { key } of sortFiles(files).current) yield key;
    },
  };
}

async function publishedFiles(
  store: ObjectStore,
  settings: S3Settings,
  connectionId: string,
  targets: readonly PartitionTarget[],
): Promise<ChosenFiles> {
  const ends = new Map<number, number>();
  const keys: string[] = [];
  for (const target of targets) {
    const newest = await new GenerationChain(
      store,
      generationPlace(settings, connectionId, target),
    ).load();
    ends.set(target.partition, newest?.offsets.next ?? 0);
    keys.push(...(newest?.files ?? []).map(({ key }) => key));
  }
  return {
    ends,
    layout: null,
    async *keys() {
      yield* keys;
    },
  };
}

/** A column that the source's key has is in a stream's files from the first on, under one name. */
function columnNamed(layout: FileLayout | null, source: string): string {
  const found = layout?.columns.find((each) => each.source === source && each.path === undefined);
  return found?.name ?? source;
}

interface FilesOnDisk {
  readonly store: ObjectStore;
  keys(): AsyncIterable<string>;
  /** Where one after the other lies while it is read. */
  readonly path: string;
}

async function* rowsOf(
  files: FilesOnDisk,
  partitionOf: (id: string) => Pick<AppendedRow, 'partition' | 'offset'>,
): AsyncGenerator<AppendedRow[]> {
  for await (const rows of rowGroups<FileRow>(files, COLUMNS)) {
    yield rows.map((row) => ({
      ...partitionOf(row._airbyte_ab_id),
      identity: eventIdentity(
        row._headrace_epoch,
        row._ab_cdc_lsn,
        row._headrace_seq,
        row._ab_cdc_deleted_at !== null,
      ),
    }));
  }
}

const DELETED_AT = '_ab_cdc_deleted_at';

/** How many rows the files have beyond the first of each key, deletes left out. */
async function countRepeatedKeys(
  files: FilesOnDisk,
  names: readonly string[],
  folder: string,
): Promise<number> {
  using tally = new KeyTally(folder);
  const columns = [...names, DELETED_AT];
  for await (const rows of rowGroups<Record<string, unknown>>(files, columns, { exact: true })) {
    for (const row of rows) {
      if (row[DELETED_AT] === null) tally.add(names.map((name) => row[name]));
    }
  }
  return tally.repeated();
}

interface ReadAs {
  /** Physical values: as numbers of JavaScript, large decimals and times of two rows may be the same. */
  readonly exact: boolean;
}

/** One row group at a time: a file may be larger than what may lie in memory (invariant 9). */
async function* rowGroups<Row>(
  { store, keys, path }: FilesOnDisk,
  columns: readonly string[],
  { exact }: ReadAs = { exact: false },
): AsyncGenerator<Row[]> {
  for await (const key of keys()) {
    if (!(await store.download(key, path))) continue;
    try {
      const file = await asyncBufferFromFile(path);
      const metadata = await parquetMetadataAsync(file);
      const options = {
        file,
        metadata: exact ? withoutLogicalTypes(metadata) : metadata,
        columns: [...columns],
        compressors: DECOMPRESSORS,
        utf8: !exact,
      };
      let rowStart = 0;
      for (const group of metadata.row_groups) {
        const rowEnd = rowStart + Number(group.num_rows);
        yield (await parquetReadObjects({ ...options, rowStart, rowEnd })) as unknown as Row[];
        rowStart = rowEnd;
      }
    } catch (cause) {
      throw new PipelineError(
        'VFY_UNSUPPORTED',
        `the file ${key} cannot be read as Parquet of ours`,
        { details: { key }, cause },
      );
    }
  }
}

function withoutLogicalTypes(metadata: FileMetaData): FileMetaData {
  const schema = metadata.schema.map((element) => {
    const { converted_type: _, logical_type: __, ...physical } = element;
    return physical;
  });
  return { ...metadata, schema };
}
