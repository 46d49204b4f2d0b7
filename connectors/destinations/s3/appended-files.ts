import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { eventIdentity, type AppendedRow, type OpenAppendedCopy } from '../../spi/comparison.ts';
import type { PartitionTarget } from '../../spi/destination.ts';
import { ClaimChain } from './claim-chain.ts';
import { DECOMPRESSORS } from './codecs.ts';
import { controlPrefix, rowIdHash, streamPrefix } from './object-key.ts';
import type { ObjectStore } from './object-store.ts';
import { openStore } from './open-store.ts';
import { RowIds } from './row-group.ts';
import { readSettings } from './settings.ts';

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

/** The Parquet files of a stream as any reader of its folder finds them, to be compared with the topic. */
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
  return {
    async look(work) {
      const ends = new Map<number, number>();
      for (const partition of partitions) {
        const chain = new ClaimChain(
          store,
          controlPrefix(settings, connectionId, target(partition)),
        );
        const { tail, finished } = await chain.load();
        ends.set(partition, tail === null ? 0 : finished ? tail.end : tail.first);
      }
      const prefix = streamPrefix(settings, target(0));
      return work({ ends, rows: () => rowsOf(store, prefix, folder, partitionOf) });
    },
    async close() {
      store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

async function* rowsOf(
  store: ObjectStore,
  prefix: string,
  folder: string,
  partitionOf: (id: string) => Pick<AppendedRow, 'partition' | 'offset'>,
): AsyncGenerator<AppendedRow[]> {
  const path = join(folder, 'file.parquet');
  for await (const key of store.list(prefix)) {
    if (!key.endsWith('.parquet')) continue;
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
