import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { Replay } from '../../spi/destination.ts';
import { exchange } from './exchange.ts';
import { createRebuild, dropStaging } from './generations.ts';
import {
  insertPartitions,
  readPartitions,
  selectPartitions,
  type StoredPartition,
} from './offset-store.ts';
import type { OwnedTable } from './owned-table.ts';
import { beginReplay, nameTable } from './replay-store.ts';
import { refuseContradictions } from './contradictions.ts';
import type { CatalogTable } from './table-catalog.ts';
import type { TableLayout } from './table-layout.ts';

/** A partition to be registered, and the order to replay it. */
export interface Registration {
  readonly partition: number;
  readonly replay: Replay | null;
}

/** An order to replay that the bookkeeping does not know yet. */
export interface NewReplay extends Replay {
  /** The first partition of its topic that begins it. */
  readonly isFirst: boolean;
}

/**
 * Throws the code of what contradicts the bookkeeping, unless an order to replay is to mend that: what
 * was truncated, removed or forgotten is then rebuilt. Answers the order if it is a new one.
 */
export async function admit(
  client: Client,
  owned: OwnedTable,
  partitions: readonly StoredPartition[],
  table: CatalogTable | null,
  registration: Registration | null,
): Promise<NewReplay | null> {
  const replay = newReplay(owned, partitions, registration);
  try {
    await refuseContradictions(client, owned, partitions, table, registration?.partition ?? null);
    return replay;
  } catch (error) {
    const isMendable =
      error instanceof PipelineError &&
      (error.code === 'DST_STATE_LOST' || error.code === 'DST_TABLE_CHANGED');
    if (replay === null || !isMendable) throw error;
    return { ...replay, rebuild: !owned.name.isReplaced };
  }
}

function newReplay(
  { name }: OwnedTable,
  partitions: readonly StoredPartition[],
  registration: Registration | null,
): NewReplay | null {
  const replay = registration?.replay ?? null;
  if (replay === null || registration === null) return null;
  const begun = partitions.filter((row) => row.replayId === replay.id);
  if (begun.some((row) => row.partition === registration.partition)) return null;
  // What is replaced as a whole is built beside the live table in any case.
  const isBeyond = partitions.some(
    (row) => row.partition === registration.partition && (row.nextOffset ?? 0) > replay.until,
  );
  // Past the end: the topic is another one, of which nothing was delivered.
  const wanted = (replay.rebuild || isBeyond) && !name.isReplaced;
  const rebuild = begun[0]?.isRebuild ?? wanted;
  return { ...replay, rebuild, isFirst: begun.length === 0 };
}

/** Registers the partition and begins what was ordered; answers the partitions as they stand then.
 * `live` are the stream's tables, none while no schema is known. */
export async function register(
  client: Client,
  owned: OwnedTable,
  { partition }: Registration,
  replay: NewReplay | null,
  live: readonly TableLayout[],
): Promise<StoredPartition[]> {
  const { home, connectionId, topic, name } = owned;
  const statements = insertPartitions(home, connectionId, topic, partition, name);
  if (replay !== null) {
    const rebuild = replay.rebuild && live.length > 0;
    if (replay.isFirst) {
      statements.push(nameTable(home, connectionId, topic, name), ...live.map(dropStaging));
      if (rebuild) statements.push(...live.flatMap(createRebuild));
    }
    statements.push(beginReplay(home, connectionId, topic, partition, { ...replay, rebuild }));
  }
  const results = await exchange(client, [
    ...statements,
    selectPartitions(home, connectionId, topic),
  ]);
  return readPartitions(results[results.length - 1]?.rows ?? []);
}
