import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { pathKey, type FlatDocument } from '../../../schemas/normalize/flatten.ts';
import {
  extended,
  Observed,
  type Naming,
  type Shape,
  type TableShape,
} from '../../../schemas/normalize/shape.ts';
import { covers, targetType, widened } from './column-type.ts';
import { exchange, type Statement } from './exchange.ts';
import type { InitialValues } from './initial-values.ts';
import { quoted } from './identifiers.ts';
import {
  childLayout,
  flatLayout,
  liveLayouts,
  rawLayout,
  RESERVED_FIELDS,
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
import {
  alterTable,
  columnAction,
  createTable,
  ensureSchema,
  lockDefinition,
  readTable,
} from './table-catalog.ts';
import { showsRows, type ColumnChange, type TableLayout } from './table-layout.ts';
import { DEFINITION_LIMITS } from './table-owner.ts';
import { tableOf } from './table-statements.ts';

export interface PreparedShape {
  /** Null while no schema is known. */
  readonly shape: Shape | null;
  readonly partitions: readonly StoredPartition[];
}

/** Names beside the flat table's own. */
export interface NormalizedNames {
  readonly raw: string;
  /** The stream's name as the connection lands it, before it is made a table's. */
  readonly stream: string;
}

export interface ShapeWish {
  /** The newest known schema, and those of the records at hand. */
  readonly schemas: readonly ChangeSchema[];
  /** What documents at hand hold; null when none was read. */
  readonly observed: Observed | null;
  readonly registration: Registration | null;
}

/**
 * Compares a normalized stream's tables with the bookkeeping, makes and widens what is missing, in a
 * transaction of its own. Columns and tables are added, never dropped.
 */
export async function prepareShape(
  client: Client,
  owned: OwnedTable,
  names: NormalizedNames,
  initials: InitialValues,
  { schemas, observed, registration }: ShapeWish,
): Promise<PreparedShape> {
  const { home, connectionId, topic, name } = owned;
  await exchange(client, [...begin(DEFINITION_LIMITS), lockDefinition(name)]);
  const [offsets, stored] = await exchange(client, [
    selectPartitions(home, connectionId, topic),
    selectShape(home, connectionId, topic),
  ]);
  const partitions = readPartitions(offsets?.rows ?? []);
  const known = readShape(stored);
  const table = await readTable(client, name.schema, name.table);
  const replay = await admit(client, owned, partitions, table, registration);
  if (table !== null && known.length === 0) {
    const what = 'what its columns mean is gone; move its tables away, then replay the stream';
    throw refusal(owned, 'DST_STATE_LOST', what);
  }
  if (schemas.length === 0 && known.length === 0) {
    const current =
      registration === null ? partitions : await register(client, owned, registration, replay, []);
    await exchange(client, [{ text: 'COMMIT' }]);
    return { shape: null, partitions: current };
  }
  const isUnused =
    table !== null &&
    partitions.every(({ nextOffset }) => nextOffset === null) &&
    !(await hasDependents(client, table.oid));
  const all = wanted(known, schemas, observed, owned, initials);
  const shape = await grow(client, owned, names, { known, observed: all, isUnused, initials });
  const live = liveLayouts(name, names.raw, shape, initials);
  const isStaged = name.isReplaced || partitions.some(({ isRebuild }) => isRebuild);
  if (table === null && known.length > 0) await restore(client, owned, live, shape);
  if (isStaged) await alignStaging(client, owned, live);
  const current =
    registration === null ? partitions : await register(client, owned, registration, replay, live);
  // The row of a partition that was just registered does not know its table yet.
  const columns = (shape[0] as TableShape).fields.map(({ column }) => column);
  const identify = identifyTable(home, connectionId, topic, name, columns);
  await exchange(client, [identify, { text: 'COMMIT' }]);
  return { shape, partitions: current };
}

/** What was observed, with the columns that the source declares in front. */
function wanted(
  known: Shape,
  schemas: readonly ChangeSchema[],
  observed: Observed | null,
  owned: OwnedTable,
  initials: InitialValues,
): Observed {
  const all = new Observed();
  const types = new Map(known[0]?.fields.map(({ path, type }) => [pathKey(path), type]));
  for (const { columns } of schemas) {
    for (const { name, type } of columns) {
      if (type.kind === 'json') {
        const document = showsRows(owned.name.mode) ? initials.flat(name) : undefined;
        if (document === undefined) continue;
        refuseNewChildren(known, document, owned, name);
        all.document(document);
        continue;
      }
      const wide = wideType(types.get(pathKey([name])), targetType(type).ddl, owned, name);
      types.set(pathKey([name]), wide);
      all.column(name, wide);
    }
  }
  if (observed !== null) all.merge(observed);
  return all;
}

/** Rows that are there already would need child rows that no event brings. */
function refuseNewChildren(
  known: Shape,
  { children }: FlatDocument,
  { name: { stream } }: OwnedTable,
  column: string,
): void {
  const tables = new Set(known.map(({ path }) => pathKey(path)));
  if (known.length === 0 || children.every(({ table }) => tables.has(pathKey(table)))) return;
  throw new PipelineError(
    'DST_SCHEMA_INCOMPATIBLE',
    `stream ${stream}: column "${column}" was added with a default that holds an array of objects; rows delivered before would need child rows`,
    { details: { stream, column } },
  );
}

function wideType(known: string | undefined, type: string, owned: OwnedTable, column: string) {
  if (known === undefined || covers(known, type)) return known ?? type;
  const wide = widened(known, type);
  if (wide !== null) return wide;
  const { stream } = owned.name;
  throw new PipelineError(
    'DST_SCHEMA_INCOMPATIBLE',
    `stream ${stream}: column "${column}" is ${known} in the destination and became ${type}; that cannot be changed without losing values`,
    { details: { stream, column, from: known, to: type } },
  );
}

interface Growth {
  readonly known: Shape;
  readonly observed: Observed;
  /** The flat table has no rows yet, and nobody builds on its columns. */
  readonly isUnused: boolean;
  readonly initials: InitialValues;
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
  const [relations] = await exchange(client, [
    {
      text: `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace
        WHERE n.nspname=$1`,
      values: [name.schema],
    },
  ]);
  const others = new Set(relations?.rows.map(([relation]) => relation));
  const { schema } = name;
  const { raw, stream } = names;
  const naming: Naming = {
    schema,
    stream,
    reserved: RESERVED_FIELDS,
    isTaken: (table) => others.has(table) || table === raw,
  };
  const shape = extended(known, observed, naming);
  if (shape === known) return shape;
  const statements: Statement[] = [];
  if (known.length === 0) {
    if (others.has(raw)) {
      const what = 'a table of that name exists and is not ours';
      throw refusal({ ...owned, name: { ...name, table: raw } }, 'DST_TABLE_FOREIGN', what);
    }
    await ensureSchema(client, schema);
    statements.push(...createTable(rawLayout(name, raw), `${marker(owned)} raw`));
  }
  const old = new Map(known.map((table) => [pathKey(table.path), table]));
  for (const table of shape) {
    const isFlat = table.path.length === 0;
    const layout = isFlat ? flatLayout(name, table, initials) : childLayout(name, table);
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

/** Makes the tables of a known shape that somebody removed, for a replay to fill them. */
async function restore(
  client: Client,
  owned: OwnedTable,
  [flat, raw, ...children]: readonly TableLayout[],
  shape: Shape,
): Promise<void> {
  const wanted: (readonly [TableLayout, Statement[]])[] = [
    [raw as TableLayout, createTable(raw as TableLayout, `${marker(owned)} raw`)],
    ...[flat as TableLayout, ...children].map(
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
