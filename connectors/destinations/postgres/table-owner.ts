import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { typeOfSpelling } from './column-type.ts';
import { exchange } from './exchange.ts';
import {
  identifyTable,
  insertPartitions,
  readPartitions,
  selectPartitions,
  type StoredPartition,
} from './offset-store.ts';
import { marker, refusal, type OwnedTable } from './owned-table.ts';
import { begin } from './sessions.ts';
import { alignStaging } from './staging.ts';
import {
  alterTable,
  createTable,
  ensureSchema,
  isEmpty,
  isMetadata,
  lockDefinition,
  readTable,
  type CatalogTable,
} from './table-catalog.ts';
import {
  changesFor,
  columnsOfSchema,
  layoutOf,
  withInitials,
  type TableColumn,
  type TableLayout,
} from './table-layout.ts';
import { tableOf } from './table-statements.ts';

/** Waiting longer for a lock would make every reader behind us wait too. */
export const DEFINITION_LIMITS = { lockTimeoutMs: 2000, statementTimeoutMs: 0 };

export interface Prepared {
  /** Null while there is no table because no schema is known. */
  readonly layout: TableLayout | null;
  readonly partitions: readonly StoredPartition[];
}

/** Where the partition stood when it was prepared; null before the first batch. */
export function nextOffsetOf({ partitions }: Prepared, partition: number): number | null {
  return partitions.find((row) => row.partition === partition)?.nextOffset ?? null;
}

/**
 * Compares table and bookkeeping, makes what is missing, and answers the layout; in a transaction of
 * its own. Refuses whatever contradicts the bookkeeping: nothing is re-created silently over user
 * data. `schema` is the newest known one; `partition` is registered when it is given.
 */
export async function prepareTable(
  client: Client,
  owned: OwnedTable,
  schema: ChangeSchema | null,
  partition: number | null,
): Promise<Prepared> {
  const { home, connectionId, topic, name } = owned;
  await exchange(client, [...begin(DEFINITION_LIMITS), lockDefinition(name)]);
  const [stored] = await exchange(client, [selectPartitions(home, connectionId, topic)]);
  const partitions = readPartitions(stored?.rows ?? []);
  const table = await readTable(client, name.schema, name.table);
  await refuseContradictions(client, owned, partitions, table, partition);
  if (partition !== null) {
    await exchange(client, insertPartitions(home, connectionId, topic, partition, name));
  }
  const layout = await bringUpToDate(client, owned, partitions[0]?.columns ?? [], table, schema);
  if (layout !== null) {
    const columns = layout.columns.slice(0, layout.sourceColumns).map((column) => column.name);
    await exchange(client, [identifyTable(home, connectionId, topic, name, columns)]);
  }
  await exchange(client, [{ text: 'COMMIT' }]);
  return { layout, partitions };
}

/** Throws the code of what contradicts the bookkeeping. */
export async function refuseContradictions(
  client: Client,
  owned: OwnedTable,
  partitions: readonly StoredPartition[],
  table: CatalogTable | null,
  partition: number | null,
): Promise<void> {
  const known = partitions.find(({ oid }) => oid !== 0);
  if (known !== undefined) await refuseChangedTable(client, owned, partitions, known, table);
  else if (table !== null) await refuseForeignTable(client, owned, table);
  if (partition === null || partitions.some((row) => row.partition === partition)) return;
  if (partitions.some(({ highest }) => partition <= highest)) {
    throw refusal(owned, 'DST_STATE_LOST', `the offset of partition ${partition} is gone`);
  }
}

async function refuseChangedTable(
  client: Client,
  owned: OwnedTable,
  partitions: readonly StoredPartition[],
  known: StoredPartition,
  table: CatalogTable | null,
): Promise<void> {
  const changed = (what: string) => refusal(owned, 'DST_TABLE_CHANGED', what);
  const { name } = owned;
  if (known.schema !== name.schema || known.table !== name.table) {
    throw changed(`its rows so far are in ${tableOf(known)}`);
  }
  if (table === null) throw changed('the table is gone');
  if (table.oid !== known.oid) throw changed('the table was replaced by another one');
  const names = new Set(table.columns.map((column) => column.name));
  const missing = known.columns.find((column) => !names.has(column));
  if (missing !== undefined) throw changed(`column "${missing}" is gone`);
  const hasRows = partitions.some(({ nextOffset }) => nextOffset !== null);
  if (hasRows && known.filenode !== table.filenode && (await isEmpty(client, name))) {
    throw changed('the table was truncated');
  }
}

/** A table without an offset of ours: only an empty one that carries our marker may be taken. */
async function refuseForeignTable(
  client: Client,
  owned: OwnedTable,
  table: CatalogTable,
): Promise<void> {
  const comment = table.comment ?? '';
  if (!comment.startsWith('headrace:')) {
    throw refusal(owned, 'DST_TABLE_FOREIGN', 'a table of that name exists and is not ours');
  }
  if (comment !== marker(owned)) {
    const [, connection = '', ...stream] = comment.split(':');
    const what = `the table belongs to stream ${stream.join(':')} of connection ${connection}`;
    throw refusal(owned, 'DST_NAME_CONFLICT', what);
  }
  if (await isEmpty(client, owned.name)) return;
  throw refusal(owned, 'DST_STATE_LOST', 'the table has rows, but its offsets are gone');
}

/** Creates the table, adds columns, widens types; answers the layout, or null without a schema. */
async function bringUpToDate(
  client: Client,
  owned: OwnedTable,
  ours: readonly string[],
  table: CatalogTable | null,
  schema: ChangeSchema | null,
): Promise<TableLayout | null> {
  const { name } = owned;
  const isRaw = name.mode === 'raw';
  const wanted = schema === null || isRaw ? [] : columnsOfSchema(schema, name.stream);
  if (table === null) {
    if (schema === null && !isRaw) return null;
    const layout = layoutOf(name, wanted);
    await ensureSchema(client, name.schema);
    await exchange(client, createTable(layout, marker(owned)));
    return layout;
  }
  const existing = ourColumns(table, ours, wanted);
  const changes = changesFor(existing, wanted, name.stream);
  const layout = withInitials(layoutOf(name, applied(existing, changes, wanted)), wanted);
  refuseOtherKey(owned, layout, table);
  if (changes.length > 0) await exchange(client, [alterTable(layout, changes)], 0);
  if (name.isReplaced) await alignStaging(client, owned, [layout]);
  return layout;
}

/** Columns of the table that are the stream's: those we made, and those the schema asks for. */
function ourColumns(
  table: CatalogTable,
  ours: readonly string[],
  wanted: readonly TableColumn[],
): TableColumn[] {
  const names = new Set([...ours, ...wanted.map(({ name }) => name)]);
  // A marked table whose bookkeeping is gone is taken as it is.
  const isOurs = (name: string) => names.has(name) || (ours.length === 0 && !isMetadata(name));
  return table.columns.filter(({ name }) => isOurs(name));
}

function applied(
  existing: readonly TableColumn[],
  changes: ReturnType<typeof changesFor>,
  wanted: readonly TableColumn[],
): TableColumn[] {
  const changed = new Map(changes.map((change) => [change.name, change]));
  const widened = existing.map((column) => {
    const change = changed.get(column.name);
    return change === undefined ? column : { name: column.name, ...typeOfSpelling(change.ddl) };
  });
  const added = wanted.filter(({ name }) => changed.get(name)?.kind === 'add');
  return [...widened, ...added];
}

/** A table made in another mode or with another key holds rows that would be mixed up. */
function refuseOtherKey(owned: OwnedTable, layout: TableLayout, table: CatalogTable): void {
  const key = layout.keys.map((index) => layout.columns[index]?.name);
  if (key.join('\0') === table.key.join('\0')) return;
  const describe = (names: readonly unknown[]) =>
    names.length === 0 ? 'no primary key' : `the primary key (${names.join(', ')})`;
  throw new PipelineError(
    'DST_KEY_MISMATCH',
    `stream ${owned.name.stream}: the table has ${describe(table.key)}, the mode asks for ${describe(key)}`,
    { details: { stream: owned.name.stream } },
  );
}
