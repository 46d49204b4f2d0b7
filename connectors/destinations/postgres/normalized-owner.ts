import type { Client } from 'pg';
import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { pathKey } from '../../../schemas/normalize/flatten.ts';
import {
  extended,
  rulesOf,
  type Naming,
  type Observed,
  type Shape,
  type TableShape,
} from '../../../schemas/normalize/shape.ts';
import { exchange, type Statement } from './exchange.ts';
import type { InitialValues } from './initial-values.ts';
import { quoted } from './identifiers.ts';
import {
  childLayout,
  flatLayout,
  listed,
  normalizedTables,
  rawLayout,
  RESERVED_FIELDS,
  type NormalizedNames,
  type NormalizedTables,
} from './normalized-layout.ts';
import {
  identifyTable,
  readPartitions,
  selectPartitions,
  type StoredPartition,
} from './offset-store.ts';
import { marker, refusal, type OwnedTable } from './owned-table.ts';
import { admit, register, type Registration } from './registration.ts';
import { begin } from './sessions.ts';
import { alignStaging } from './staging.ts';
import { readShape, selectShape, storeShape } from './shape-store.ts';
import type { QualifiedTable } from './stream-tables.ts';
import {
  alterTable,
  columnAction,
  createTable,
  ensureSchema,
  lockDefinition,
  readTable,
  type CatalogTable,
} from './table-catalog.ts';
import { changesTo, META_COLUMN, type ColumnChange, type TableLayout } from './table-layout.ts';
import { DEFINITION_LIMITS, refuseOtherKey } from './table-owner.ts';
import { tableOf } from './table-statements.ts';
import { wantedShape } from './wanted-shape.ts';

export interface PreparedShape {
  /** Null while no schema is known. */
  readonly shape: Shape | null;
  readonly recordsChanges: boolean;
  readonly partitions: readonly StoredPartition[];
}

export interface ShapeWish {
  /** The newest known schema, and those of the records at hand. */
  readonly schemas: readonly ChangeSchema[];
  /** What documents at hand hold; null when none was read. */
  readonly observed: Observed | null;
  readonly registration: Registration | null;
  /** The tables are to have room for what became of fields; it is kept where it is there already. */
  readonly recordsChanges?: boolean;
}

/**
 * Compares a normalized stream's tables with the bookkeeping, makes and widens what is missing, in a
 * transaction of its own. Columns and tables are added, never dropped.
 */
export async function prepareShape(
  client: Client,
  owned: OwnedTable,
  given: Omit<NormalizedNames, 'recordsChanges'>,
  initials: InitialValues,
  { schemas, observed, registration, recordsChanges: isWished = false }: ShapeWish,
): Promise<PreparedShape> {
  const { home, connectionId, topic, name } = owned;
  await exchange(client, [...begin(DEFINITION_LIMITS), lockDefinition(name)]);
  const [offsets, stored] = await exchange(client, [
    selectPartitions(home, connectionId, topic),
    selectShape(home, connectionId, topic),
  ]);
  const partitions = readPartitions(offsets?.rows ?? []);
  const table = await readTable(client, name.schema, name.table);
  const hasMeta = recordsChangesOf(table, given);
  const names = { ...given, recordsChanges: hasMeta || isWished };
  const { rules, recordsChanges } = names;
  const known = ofRules(readShape(stored), owned, names, table);
  const replay = await admit(client, owned, partitions, table, registration);
  if (table !== null && known.length === 0) {
    const what = 'what its columns mean is gone; move its tables away, then replay the stream';
    throw refusal(owned, 'DST_STATE_LOST', what);
  }
  if (schemas.length === 0 && known.length === 0) {
    const current =
      registration === null ? partitions : await register(client, owned, registration, replay, []);
    await exchange(client, [{ text: 'COMMIT' }]);
    return { shape: null, recordsChanges, partitions: current };
  }
  const isUnused = table !== null && (await isStillUnused(client, table, partitions));
  const all = wantedShape(known, schemas, observed, owned, { rules, initials });
  const shape = await grow(client, owned, names, { known, observed: all, isUnused, initials });
  const tables = normalizedTables(name, names, shape, initials);
  const live = listed(tables);
  if (table !== null) refuseOtherKey(owned, tables.flat, table);
  const isStaged = name.isReplaced || partitions.some(({ isRebuild }) => isRebuild);
  if (table === null && known.length > 0) await restore(client, owned, tables, shape);
  if (table !== null && isWished && !hasMeta) await addMeta(client, tables);
  if (tables.history !== null) await alignHistory(client, owned, tables.history);
  if (isStaged) await alignStaging(client, owned, live);
  const current =
    registration === null ? partitions : await register(client, owned, registration, replay, live);
  // The row of a partition that was just registered does not know its table yet.
  const columns = (shape[0] as TableShape).fields.map(({ column }) => column);
  const identify = identifyTable(home, connectionId, topic, name, columns);
  await exchange(client, [identify, { text: 'COMMIT' }]);
  return { shape, recordsChanges, partitions: current };
}

/** By the v2 rules the column is one of the layout's own, from the beginning. */
function recordsChangesOf(
  table: CatalogTable | null,
  { rules }: Pick<NormalizedNames, 'rules'>,
): boolean {
  if (table === null || rules === 'v2') return false;
  return table.columns.some(({ name }) => name === META_COLUMN.name);
}

async function addMeta(client: Client, { flat, raw }: NormalizedTables): Promise<void> {
  const column = { kind: 'add' as const, ...META_COLUMN };
  await exchange(
    client,
    [flat, raw].map((layout) => alterTable(layout, [column])),
    0,
  );
}

/** The shape as it is known; nothing where tables of other rules were moved away. */
function ofRules(
  stored: Shape,
  owned: OwnedTable,
  { rules }: NormalizedNames,
  table: CatalogTable | null,
): Shape {
  const made = rulesOf(stored);
  if (stored.length === 0 || made === rules) return stored;
  if (table === null) return [];
  const what = `its tables were made by normalization "${made}", not "${rules}"; move them away and replay the stream, or set that back`;
  throw refusal(owned, 'DST_TABLE_CHANGED', what);
}

interface Growth {
  readonly known: Shape;
  readonly observed: Observed;
  /** The flat table has no rows yet, and nobody builds on its columns. */
  readonly isUnused: boolean;
  readonly initials: InitialValues;
}

async function isStillUnused(
  client: Client,
  { oid }: CatalogTable,
  partitions: readonly StoredPartition[],
): Promise<boolean> {
  const isEmpty = partitions.every(({ nextOffset }) => nextOffset === null);
  return isEmpty && !(await hasDependents(client, oid));
}

/** Whether views or anything else name single columns of the table. */
async function hasDependents(client: Client, oid: number): Promise<boolean> {
  const [answer] = await exchange(client, [
    {
      text: `SELECT EXISTS (SELECT FROM pg_depend WHERE refclassid='pg_class'::regclass
        AND refobjid=$1::oid AND refobjsubid>0 AND deptype='n')`,
      values: [String(oid)],
    },
  ]);
  return answer?.rows[0]?.[0] === 't';
}

async function grow(
  client: Client,
  owned: OwnedTable,
  names: NormalizedNames,
  { known, observed, isUnused, initials }: Growth,
): Promise<Shape> {
  const { home, connectionId, topic, name } = owned;
  const { schema } = name;
  const { raw, stream, rules, history } = names;
  const others = await relationsOf(client, schema);
  const naming: Naming = {
    schema,
    stream,
    rules,
    reserved: RESERVED_FIELDS,
    isTaken: (table) => others.has(table) || table === raw.table || table === history,
  };
  const shape = extended(known, observed, naming);
  if (shape === known) return shape;
  const statements: Statement[] = [];
  if (known.length === 0) {
    if ((await readTable(client, raw.schema, raw.table)) !== null) throw foreign(owned, raw);
    for (const one of new Set([schema, raw.schema])) await ensureSchema(client, one);
    statements.push(...createTable(rawLayout(name, names), `${marker(owned)} raw`));
  }
  const old = new Map(known.map((table) => [pathKey(table.path), table]));
  for (const table of shape) {
    const isFlat = table.path.length === 0;
    const layout = isFlat ? flatLayout(name, names, table, initials) : childLayout(name, table);
    const before = old.get(pathKey(table.path));
    if (before === undefined) statements.push(...created(owned, layout, table));
    else if (before === table) continue;
    else if (isFlat && isUnused) statements.push(reordered(layout, before, table, initials));
    else statements.push(...altered(layout, before, table, isFlat ? initials : null));
  }
  statements.push(storeShape(home, connectionId, topic, shape));
  await exchange(client, statements, 0);
  return shape;
}

async function relationsOf(client: Client, schema: string): Promise<Set<string | null>> {
  const text = `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace
    WHERE n.nspname=$1`;
  const [relations] = await exchange(client, [{ text, values: [schema] }]);
  return new Set(relations?.rows.map(([relation]) => relation as string));
}

function foreign(owned: OwnedTable, table: QualifiedTable): PipelineError {
  const what = 'a table of that name exists and is not ours';
  return refusal({ ...owned, name: { ...owned.name, ...table } }, 'DST_TABLE_FOREIGN', what);
}

/** Makes the table of versions, or brings it to where the flat table's columns are. */
async function alignHistory(client: Client, owned: OwnedTable, layout: TableLayout): Promise<void> {
  const { schema, table } = layout;
  const comment = `${marker(owned)} scd`;
  const known = await readTable(client, schema, table);
  if (known === null) {
    await exchange(client, createTable(layout, comment), 0);
    return;
  }
  if (known.comment !== comment) throw foreign(owned, { schema, table });
  const changes = changesTo(known.columns, layout.columns);
  if (changes.length > 0) await exchange(client, [alterTable(layout, changes)], 0);
}

/** Makes the tables of a known shape that somebody removed, for a replay to fill them. */
async function restore(
  client: Client,
  owned: OwnedTable,
  { flat, raw, children }: NormalizedTables,
  shape: Shape,
): Promise<void> {
  const wanted: (readonly [TableLayout, Statement[]])[] = [
    [raw, createTable(raw, `${marker(owned)} raw`)],
    ...[flat, ...children].map(
      (layout, i) => [layout, created(owned, layout, shape[i] as TableShape)] as const,
    ),
  ];
  for (const [{ schema, table }, statements] of wanted) {
    if ((await readTable(client, schema, table)) === null) await exchange(client, statements, 0);
  }
}

function created(owned: OwnedTable, layout: TableLayout, { path }: TableShape): Statement[] {
  if (path.length === 0) return createTable(layout, marker(owned));
  const statements = createTable(layout, `${marker(owned)} ${path.flat().join('.')}`);
  if (owned.name.mode !== 'append_dedup') return statements;
  // Rows are taken away by the event that brought them.
  return [
    ...statements,
    { text: `CREATE INDEX ON ${tableOf(layout)} (${quoted('_airbyte_ab_id')})` },
  ];
}

function altered(
  layout: TableLayout,
  before: TableShape,
  after: TableShape,
  initials: InitialValues | null,
): Statement[] {
  const changes = columnChanges(before, after, initials);
  return changes.length === 0 ? [] : [alterTable(layout, changes)];
}

function columnChanges(
  before: TableShape,
  after: TableShape,
  initials: InitialValues | null,
): ColumnChange[] {
  const types = new Map(before.fields.map(({ column, type }) => [column, type]));
  return after.fields.flatMap(({ path, column, type }): ColumnChange[] => {
    const known = types.get(column);
    if (known === type) return [];
    const initial = initials?.ofField(path);
    const change = { name: column, ddl: type, ...(initial === undefined ? {} : { initial }) };
    return [{ kind: known === undefined ? 'add' : 'widen', ...change }];
  });
}

/** An empty stream has its table before its fields are known: they still come in front of ours. */
function reordered(
  layout: TableLayout,
  before: TableShape,
  after: TableShape,
  initials: InitialValues,
): Statement {
  const ours = layout.columns.slice(layout.sourceColumns);
  const actions = [
    ...ours.map(({ name }) => `DROP COLUMN ${quoted(name)}`),
    ...columnChanges(before, after, initials).map((change) => columnAction(change, layout.mode)),
    ...ours.map(({ name, ddl }) => `ADD COLUMN ${quoted(name)} ${ddl}`),
  ];
  return { text: `ALTER TABLE ${tableOf(layout)} ${actions.join(',')}` };
}
