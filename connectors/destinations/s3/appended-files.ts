import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
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
import { RowIds } from './row-group.ts';
import { readSettings, type S3Settings } from './settings.ts';

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
      const { keys, ...range } = await chosen();
      return work({ ...range, rows: () => rowsOf(store, keys, folder, partitionOf) });
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
  for (const target of targets) {
    const { partition } = target;
    const rebuilds = new Rebuilds(store, settings, connectionId, target);
    const shown = await rebuilds.shownRebuild();
    const { number, prefix } = rebuilds.set(shown?.number ?? 0);
    const { tail, finished } = await new ClaimChain(store, prefix).load();
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
    async *keys() {
      yield* keys;
    },
  };
}

async function* rowsOf(
  store: ObjectStore,
  keys: () => AsyncIterable<string>,
  folder: string,
  partitionOf: (id: string) => Pick<AppendedRow, 'partition' | 'offset'>,
): AsyncGenerator<AppendedRow[]> {
  const path = join(folder, 'file.parquet');
  for await (const key of keys()) {
    if (!(await store.download(key, path))) continue;
    for await (const rows of rowGroups(key, path)) {
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
}

/** One row group at a time: a file may be larger than what may lie in memory (invariant 9). */
async function* rowGroups(key: string, path: string): AsyncGenerator<FileRow[]> {
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      const options = {
        file,
        metadata,
        columns: COLUMNS,
        compressors: DECOMPRESSORS,
        rowStart,
        rowEnd,
      };
      yield (await parquetReadObjects(options)) as unknown as FileRow[];
      rowStart = rowEnd;
    }
  } catch (cause) {
    throw new PipelineError(
      'VFY_UNSUPPORTED',
      `the file ${key} cannot be read as Parquet of ours`,
      {
        details: { key },
        cause,
      },
    );
  }
}
