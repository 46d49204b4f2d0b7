import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { typeOfSpelling } from './column-type.ts';
import { exchange } from './exchange.ts';
import {
  identifyTable,
  readPartitions,
  selectPartitions,
  type StoredPartition,
} from './offset-store.ts';
import { marker, type OwnedTable } from './owned-table.ts';
import { admit, register, type Registration } from './registration.ts';
import { begin } from './sessions.ts';
import { alignStaging } from './staging.ts';
import {
  alterTable,
  createTable,
  ensureSchema,
  isMetadata,
  lockDefinition,
  readTable,
  type CatalogTable,
} from './table-catalog.ts';
import {
  changesFor,
  columnsOfSchema,
  layoutOf,
  META_COLUMN,
  withInitials,
  withMeta,
  type TableColumn,
  type TableLayout,
} from './table-layout.ts';

/** Waiting longer for a lock would make every reader behind us wait too. */
export const DEFINITION_LIMITS = { lockTimeoutMs: 2000, statementTimeoutMs: 0 };

export interface Prepared {
  /** Null while there is no table because no schema is known. */
  readonly layout: TableLayout | null;
  readonly partitions: readonly StoredPartition[];
}

export interface TableWish {
  /** The newest known one. */
  readonly schema: ChangeSchema | null;
  readonly registration: Registration | null;
  /** The table is to have room for what became of fields; it is kept where it is there already. */
  readonly recordsChanges: boolean;
}

/**
 * Compares table and bookkeeping, makes what is missing, and answers the layout; in a transaction of
 * its own. Refuses whatever contradicts the bookkeeping: nothing is re-created silently over user
 * data.
 */
export async function prepareTable(
  client: Client,
  owned: OwnedTable,
  { schema, registration, recordsChanges }: TableWish,
): Promise<Prepared> {
  const { home, connectionId, topic, name } = owned;
  await exchange(client, [...begin(DEFINITION_LIMITS), lockDefinition(name)]);
  const [stored] = await exchange(client, [selectPartitions(home, connectionId, topic)]);
  const partitions = readPartitions(stored?.rows ?? []);
  const table = await readTable(client, name.schema, name.table);
  const replay = await admit(client, owned, partitions, table, registration);
  const found = { partitions, table };
  const layout = await bringUpToDate(client, owned, found, schema, recordsChanges);
  const live = layout === null ? [] : [layout];
  const current =
    registration === null ? partitions : await register(client, owned, registration, replay, live);
  if (layout !== null) {
    const columns = layout.columns.slice(0, layout.sourceColumns).map((column) => column.name);
    await exchange(client, [identifyTable(home, connectionId, topic, name, columns)]);
  }
  await exchange(client, [{ text: 'COMMIT' }]);
  return { layout, partitions: current };
}

interface FoundTable {
  readonly partitions: readonly StoredPartition[];
  readonly table: CatalogTable | null;
}

/** Creates the table, adds columns, widens types; answers the layout, or null without a schema. */
async function bringUpToDate(
  client: Client,
  owned: OwnedTable,
  { partitions, table }: FoundTable,
  schema: ChangeSchema | null,
  recordsChanges: boolean,
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
  const existing = ourColumns(table, partitions[0]?.columns ?? [], wanted);
  const changes = changesFor(existing, wanted, name.stream);
  const plain = withInitials(layoutOf(name, applied(existing, changes, wanted)), wanted);
  const hasMeta = hasMetaColumn(table, plain);
  const layout = hasMeta || recordsChanges ? withMeta(plain) : plain;
  if (!hasMeta && recordsChanges) changes.push({ kind: 'add', ...META_COLUMN });
  refuseOtherKey(owned, layout, table);
  if (changes.length > 0) await exchange(client, [alterTable(layout, changes)], 0);
  const isStaged = name.isReplaced || partitions.some(({ isRebuild }) => isRebuild);
  if (isStaged) await alignStaging(client, owned, [layout]);
  return layout;
}

/** A source's column of that name is the source's. */
function hasMetaColumn({ columns }: CatalogTable, plain: TableLayout): boolean {
  const { name: meta, ddl: type } = META_COLUMN;
  const isTaken = plain.columns.some(({ name }) => name === meta);
  return !isTaken && columns.some(({ name, ddl }) => name === meta && ddl === type);
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
export function refuseOtherKey(owned: OwnedTable, layout: TableLayout, table: CatalogTable): void {
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
